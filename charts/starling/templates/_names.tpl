{{/*
starling.fullname names everything of a release, and is cut where Kubernetes would refuse it: the longest suffix has 8.
*/}}
{{- define "starling.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 54 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 54 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 54 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/*
starling.labels are on everything that the chart makes.
*/}}
{{- define "starling.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/*
starling.podLabels is for the labels of every pod with a sidecar: by it the Service, and so the sidecars, find each other.
*/}}
{{- define "starling.podLabels" -}}
starlingmesh.github.io/cluster: {{ include "starling.fullname" . }}
{{- end -}}

{{/*
starling.podAnnotations is for the annotations of pods that shall be replaced when the configuration changes.
*/}}
{{- define "starling.podAnnotations" -}}
starlingmesh.github.io/config: {{ include "starling.config" . | sha256sum | trunc 16 | quote }}
{{- end -}}

{{/*
starling.serviceAccountName is who the pods are to the API server.
*/}}
{{- define "starling.serviceAccountName" -}}
{{- if .Values.serviceAccount.name -}}
{{- .Values.serviceAccount.name -}}
{{- else if .Values.serviceAccount.create -}}
{{- include "starling.fullname" . -}}
{{- else -}}
default
{{- end -}}
{{- end -}}

{{/*
starling.keySecret is the Secret that holds the pre-shared key.
*/}}
{{- define "starling.keySecret" -}}
{{- default (printf "%s-key" (include "starling.fullname" .)) .Values.security.existingSecret -}}
{{- end -}}

{{/*
starling.certificateSecret is the Secret with tls.crt, tls.key and ca.crt; empty with a pre-shared key.
*/}}
{{- define "starling.certificateSecret" -}}
{{- $c := .Values.security.certificates -}}
{{- if $c.existingSecret -}}
{{- $c.existingSecret -}}
{{- else if $c.certManager.enabled -}}
{{- printf "%s-tls" (include "starling.fullname" .) -}}
{{- end -}}
{{- end -}}

{{/*
starling.certificates is not empty when certificates prove membership, and no key.
*/}}
{{- define "starling.certificates" -}}
{{- if or (include "starling.certificateSecret" .) .Values.security.certificates.volume -}}yes{{- end -}}
{{- end -}}
