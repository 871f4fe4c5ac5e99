{{/*
starling.pod is all that a pod needs at once, for `starling inject`: the ConfigMap has it too. What is under "application"
is for each of the pod's own containers.
*/}}
{{- define "starling.pod" -}}
metadata:
  labels:
    {{- include "starling.podLabels" . | nindent 4 }}
  annotations:
    {{- include "starling.podAnnotations" . | nindent 4 }}
spec:
  serviceAccountName: {{ include "starling.serviceAccountName" . }}
  {{- if .Values.sidecar.native }}
  initContainers:
    {{- include "starling.sidecar" . | nindent 4 }}
  {{- else }}
  containers:
    {{- include "starling.container" . | nindent 4 }}
  {{- end }}
  volumes:
    {{- include "starling.volumes" . | nindent 4 }}
application:
  {{- include "starling.app" . | nindent 2 }}
{{- end -}}
