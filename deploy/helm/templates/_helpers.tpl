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

{{- /* The name of the Job of one command, with at most 63 characters. */ -}}
{{- define "invite-sweeper.job-name" -}}
{{- $template := include "invite-sweeper.pod" (dict "root" . "args" .Values.job.args) }}
{{- printf "%s-%s-%s" (include "invite-sweeper.fullname" . | trunc 33 | trimSuffix "-") .Values.job.name (sha256sum $template | trunc 8) }}
{{- end }}

{{- /*
What a NetworkPolicy must allow besides DNS and HTTPS: a warning with the rule by value, unless a
rule names the port. Of `url`, for `what`.
*/ -}}
{{- define "invite-sweeper.egress-warning" -}}
{{- $url := urlParse .url }}
{{- $port := regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) | default (eq $url.scheme "https" | ternary "443" "80") }}
{{- $host := trimSuffix (printf ":%s" $port) $url.host }}
{{- $ports := regexMatch "\\.svc|^10\\.|^172\\.|^192\\.168\\." $host | ternary (list) (list "443") }}
{{- range .root.Values.networkPolicy.egress }}
{{- range .ports }}
{{- $ports = append $ports (toString .port) }}
{{- end }}
{{- end }}
{{- if and .root.Values.networkPolicy.enabled (not (has $port $ports)) }}

WARNING: the NetworkPolicy allows DNS and HTTPS to public addresses, and not {{ .what }}, {{ $host }}:{{ $port }}. Add
to the values, with the address or the labels that select it:
  networkPolicy:
    egress:
      {{- if regexMatch "^[0-9.]+$" $host }}
      - to: [{ipBlock: {cidr: {{ $host }}/32}}]
      {{- else if regexMatch "^[^.]+\\.[^.]+(\\.svc(\\..*)?)?$" $host }}
      - to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ index (splitList "." $host) 1 }}}}}]
      {{- else }}
      - to: [{ipBlock: {cidr: ADDRESS/32}}]
      {{- end }}
        ports: [{port: {{ $port }}}]
{{- end }}
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
