{{- define "invite-sweeper.labels" -}}
app.kubernetes.io/name: invite-sweeper
{{- end }}
