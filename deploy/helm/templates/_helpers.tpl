{{- define "invite-sweeper.labels" -}}
app.kubernetes.io/name: invite-sweeper
{{- end }}

{{- /* The label of the chart wins over labels of the values, because the NetworkPolicy selects it. */ -}}
{{- define "invite-sweeper.labels-with" -}}
{{- toYaml (merge (include "invite-sweeper.labels" . | fromYaml) .extra) }}
{{- end }}

{{- define "invite-sweeper.sharded" -}}
{{- if gt (int .Values.shards) 1 }}true{{ end }}
{{- end }}

{{- /* The name of a file of this pod: each shard writes its own files. */ -}}
{{- define "invite-sweeper.file" -}}
{{- if include "invite-sweeper.sharded" . }}shard-$(JOB_COMPLETION_INDEX){{ else }}invite-sweeper{{ end }}
{{- end }}

{{- define "invite-sweeper.access-mode" -}}
{{- $many := gt (int .Values.shards) 1 }}
{{- .Values.audit.accessMode | default ($many | ternary "ReadWriteMany" "ReadWriteOnce") }}
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

{{- /* Shards that share a ReadWriteOnce volume must run on one node. */ -}}
{{- define "invite-sweeper.affinity" -}}
{{- $affinity := deepCopy .Values.affinity }}
{{- if and (include "invite-sweeper.sharded" .) (eq (include "invite-sweeper.access-mode" .) "ReadWriteOnce") }}
{{- $labels := include "invite-sweeper.labels" . | fromYaml }}
{{- $same := dict "labelSelector" (dict "matchLabels" $labels) "topologyKey" "kubernetes.io/hostname" }}
{{- $pods := get $affinity "podAffinity" | default dict }}
{{- $key := "requiredDuringSchedulingIgnoredDuringExecution" }}
{{- $_ := set $pods $key (append (get $pods $key | default list) $same) }}
{{- $_ := set $affinity "podAffinity" $pods }}
{{- end }}
{{- if $affinity }}{{ toYaml $affinity }}{{ end }}
{{- end }}
