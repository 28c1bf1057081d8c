{{- /*
The name of a release's objects: that of the release, with the chart's or its alias unless the release
has it already. A CronJob's name has at most 52 characters.
*/ -}}
{{- define "invite-sweeper.fullname" -}}
{{- $own := contains .Chart.Name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) }}
{{- .Values.fullnameOverride | default $own | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- /* What distinguishes a release in every metric. */ -}}
{{- define "invite-sweeper.instance" -}}
{{- .Values.metrics.instance | default (printf "%s/%s" .Release.Namespace (include "invite-sweeper.fullname" .)) }}
{{- end }}

{{- /* What the NetworkPolicy selects: the pods of this release and alias alone. */ -}}
{{- define "invite-sweeper.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "invite-sweeper.own-labels" -}}
{{ include "invite-sweeper.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
{{- end }}

{{- /*
Labels of an object: `which` is own-labels or selector, `extra` those of a value. The chart's own win,
then those of the value.
*/ -}}
{{- define "invite-sweeper.labels-with" -}}
{{- $own := include (printf "invite-sweeper.%s" .which) .root | fromYaml }}
{{- toYaml (merge $own (.extra | default dict) .root.Values.commonLabels) }}
{{- end }}

{{- define "invite-sweeper.labels" -}}
{{- include "invite-sweeper.labels-with" (dict "which" "own-labels" "root" .) }}
{{- end }}

{{- define "invite-sweeper.service-account" -}}
{{- .Values.serviceAccount.name | default (include "invite-sweeper.fullname" .) }}
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
