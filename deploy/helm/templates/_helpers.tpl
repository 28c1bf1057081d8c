{{- define "invite-sweeper.labels" -}}
app.kubernetes.io/name: invite-sweeper
{{- end }}

{{- /* The label of the chart wins over labels of the values, because the NetworkPolicy selects it. */ -}}
{{- define "invite-sweeper.labels-with" -}}
{{- toYaml (merge (include "invite-sweeper.labels" . | fromYaml) .extra) }}
{{- end }}

{{- /* The name of a file of this pod: each shard writes its own files. */ -}}
{{- define "invite-sweeper.file" -}}
{{- if gt (int .Values.shards) 1 }}shard-$(JOB_COMPLETION_INDEX){{ else }}invite-sweeper{{ end }}
{{- end }}

{{- /* The variables of one pair of credentials: kind, name (or empty) and folder. */ -}}
{{- define "invite-sweeper.credentials-env" -}}
{{- $suffix := .name | empty | ternary "" (printf "_%s" .name) }}
{{- range eq .kind "api-key" | ternary (list "PUBLIC_API_KEY" "PRIVATE_API_KEY") (list "CLIENT_ID" "CLIENT_SECRET") }}
- name: MONGODB_ATLAS_{{ . }}{{ $suffix }}_FILE
  value: {{ printf "%s/%s" $.folder (. | lower | replace "_" "-") | quote }}
{{- end }}
{{- end }}

{{- /* The volume and folder of named credentials, such as credentials-prod. */ -}}
{{- define "invite-sweeper.slug" -}}
{{- .name | lower | replace "_" "-" }}
{{- end }}
