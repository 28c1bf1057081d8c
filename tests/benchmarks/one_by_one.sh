#!/bin/sh
# What a person writes on the day: one curl call after another, a process each.
set -eu
base=$MONGODB_ATLAS_BASE_URL
accept='Accept: application/vnd.atlas.2023-01-01+json'
login="$MONGODB_ATLAS_CLIENT_ID:$MONGODB_ATLAS_CLIENT_SECRET"

ids() { grep -o '"id":"[0-9a-f]*"' | cut -d '"' -f 4; }

token=$(curl -sf -u "$login" -d grant_type=client_credentials "$base/api/oauth/token" |
  grep -o '"access_token":"[^"]*"' | cut -d '"' -f 4)
bearer="Authorization: Bearer $token"
for project in $(curl -sf -H "$accept" -H "$bearer" "$base/api/atlas/v2/groups?itemsPerPage=500" | ids); do
  invites="$base/api/atlas/v2/groups/$project/invites"
  for invitation in $(curl -sf -H "$accept" -H "$bearer" "$invites" | ids); do
    curl -sf -X DELETE -H "$accept" -H "$bearer" "$invites/$invitation"
  done
done
curl -sf -u "$login" -d "token=$token" "$base/api/oauth/revoke"
