{{- /* A CronJob's name has at most 52 characters. */ -}}
{{- define "invite-sweeper.fullname" -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- /* What the NetworkPolicy selects: the pods of this release alone. */ -}}
{{- define "invite-sweeper.selector" -}}
app.kubernetes.io/name: invite-sweeper
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "invite-sweeper.labels" -}}
{{ include "invite-sweeper.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
{{- end }}

{{- /* Labels of the chart (the template `labels` or `selector`) win over those of the values. */ -}}
{{- define "invite-sweeper.labels-with" -}}
{{- toYaml (merge (include (printf "invite-sweeper.%s" .which) .root | fromYaml) .extra) }}
{{- end }}

{{- define "invite-sweeper.service-account" -}}
{{- .Values.serviceAccount.name | default (include "invite-sweeper.fullname" .) }}
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
