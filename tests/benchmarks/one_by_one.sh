#!/bin/sh
# Deletes with one curl process per request: with an API key, as in Atlas's examples, or with
# the token of a service account.
set -eu
base=$MONGODB_ATLAS_BASE_URL
ids() { grep -o '"id":"[0-9a-f]*"' | cut -d '"' -f 4; }

if [ -n "${MONGODB_ATLAS_PUBLIC_API_KEY:-}" ]; then
  set -- --digest --user "$MONGODB_ATLAS_PUBLIC_API_KEY:$MONGODB_ATLAS_PRIVATE_API_KEY"
else
  login="$MONGODB_ATLAS_CLIENT_ID:$MONGODB_ATLAS_CLIENT_SECRET"
  token=$(curl -sf -u "$login" -d grant_type=client_credentials "$base/api/oauth/token" |
    grep -o '"access_token":"[^"]*"' | cut -d '"' -f 4)
  set -- --header "Authorization: Bearer $token"
fi
set -- -sf --header 'Accept: application/vnd.atlas.2023-01-01+json' "$@"

for project in $(curl "$@" "$base/api/atlas/v2/groups?itemsPerPage=500" | ids); do
  invites="$base/api/atlas/v2/groups/$project/invites"
  for invitation in $(curl "$@" "$invites" | ids); do
    curl "$@" -X DELETE "$invites/$invitation"
  done
done
