{{- /* The program's deadline, its grace, and the start of the pod. */ -}}
{{- define "invite-sweeper.pod-seconds" -}}
{{- add (mul 60 (int .Values.deadlineMinutes)) 120 }}
{{- end }}

{{- /*
The template of a pod, from `root` and `args`. deploy/kubernetes/base/cronjob.yaml explains the values.
*/ -}}
{{- define "invite-sweeper.pod" -}}
{{- $args := .args }}
{{- with .root }}
{{- $mounted := and .Values.credentials.secretName (ne .Values.credentials.kind "none") }}
metadata:
  labels:
    {{- include "invite-sweeper.labels-with" (dict "which" "selector" "root" . "extra" .Values.podLabels) | nindent 4 }}
  {{- with .Values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  activeDeadlineSeconds: {{ include "invite-sweeper.pod-seconds" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  restartPolicy: Never
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . | quote }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  serviceAccountName: {{ include "invite-sweeper.service-account" . }}
  {{- with .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  securityContext:
    {{- toYaml .Values.podSecurityContext | nindent 4 }}
  {{- with .Values.initContainers }}
  initContainers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: invite-sweeper
      {{- $version := .Chart.AppVersion }}
      {{- with .Values.image }}
      image: {{ (empty .digest | ternary (printf "%s:%s" .repository (.tag | default $version)) (printf "%s@%s" .repository .digest)) | quote }}
      {{- end }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args:
        {{- toYaml $args | nindent 8 }}
      env:
        - name: INVITE_SWEEPER_INSTANCE
          value: {{ include "invite-sweeper.instance" . | quote }}
        {{- with .Values.credentials }}
        {{- if and .secretName (ne .kind "none") }}
        {{- include "invite-sweeper.credentials-env" (dict "kind" .kind "name" "" "folder" "/run/secrets/invite-sweeper") | trim | nindent 8 }}
        {{- end }}
        {{- range .named }}
        {{- $folder := printf "/run/secrets/invite-sweeper-%s" (include "invite-sweeper.slug" .) }}
        {{- include "invite-sweeper.credentials-env" (dict "kind" .kind "name" .name "folder" $folder) | trim | nindent 8 }}
        {{- end }}
        {{- end }}
        {{- with .Values.proxy.url }}
        - name: HTTPS_PROXY
          value: {{ . | quote }}
        {{- end }}
        {{- with .Values.proxy.noProxy }}
        - name: NO_PROXY
          value: {{ . | quote }}
        {{- end }}
        {{- range .Values.extraEnv }}
        {{- if eq .name "INVITE_SWEEPER_COMMAND" }}
        {{- fail "INVITE_SWEEPER_COMMAND is that of the chart: set mode, not extraEnv." }}
        {{- end }}
        {{- list . | toYaml | nindent 8 }}
        {{- end }}
        # Another value reaches the next pod, also a retry of a Job that runs. It is the last one:
        # of two variables of one name Kubernetes takes the last.
        - name: INVITE_SWEEPER_COMMAND
          valueFrom:
            configMapKeyRef:
              name: {{ include "invite-sweeper.fullname" . }}-command
              key: command
      {{- with .Values.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      securityContext:
        {{- toYaml .Values.securityContext | nindent 8 }}
      volumeMounts:
        - name: policy
          mountPath: /etc/invite-sweeper
          readOnly: true
        {{- if $mounted }}
        - name: credentials
          mountPath: /run/secrets/invite-sweeper
          readOnly: true
        {{- end }}
        {{- range .Values.credentials.named }}
        - name: credentials-{{ include "invite-sweeper.slug" . }}
          mountPath: /run/secrets/invite-sweeper-{{ include "invite-sweeper.slug" . }}
          readOnly: true
        {{- end }}
        - name: audit
          mountPath: /var/lib/invite-sweeper
        {{- if or .Values.metrics.textfile.claimName .Values.metrics.textfile.hostPath }}
        - name: metrics
          mountPath: /var/lib/invite-sweeper-metrics
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: policy
      configMap:
        name: {{ .Values.policyConfigMap | default (printf "%s-policy" (include "invite-sweeper.fullname" .)) | quote }}
    {{- if $mounted }}
    - name: credentials
      secret:
        secretName: {{ .Values.credentials.secretName | quote }}
        defaultMode: 0440
    {{- end }}
    {{- range .Values.credentials.named }}
    - name: credentials-{{ include "invite-sweeper.slug" . }}
      secret:
        secretName: {{ .secretName | quote }}
        defaultMode: 0440
    {{- end }}
    - name: audit
      persistentVolumeClaim:
        claimName: {{ .Values.audit.existingClaim | default (printf "%s-audit" (include "invite-sweeper.fullname" .)) | quote }}
    {{- with .Values.metrics.textfile }}
    {{- if .claimName }}
    - name: metrics
      persistentVolumeClaim:
        claimName: {{ .claimName | quote }}
    {{- else if .hostPath }}
    - name: metrics
      hostPath:
        path: {{ .hostPath | quote }}
        type: Directory
    {{- end }}
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
{{- end }}
