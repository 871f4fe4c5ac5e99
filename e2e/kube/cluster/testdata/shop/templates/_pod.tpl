{{- /* A pod of the shop's. Takes the chart's root, and what the application does. */}}
{{- define "shop.pod" -}}
{{- $starling := .root.Subcharts.starling -}}
serviceAccountName: {{ include "starling.serviceAccountName" $starling }}
automountServiceAccountToken: false
{{- if $starling.Values.sidecar.native }}
initContainers:
  {{- include "starling.sidecar" $starling | nindent 2 }}
{{- end }}
containers:
  {{- if not $starling.Values.sidecar.native }}
  {{- include "starling.container" $starling | nindent 2 }}
  {{- end }}
  - name: shop
    image: {{ .root.Values.image }}
    imagePullPolicy: Never
    args: [{{ .does }}]
    env:
      - {name: REPORT_URL, value: {{ .root.Values.reportURL | quote }}}
      {{- include "starling.appEnv" $starling | nindent 6 }}
    volumeMounts:
      {{- include "starling.appVolumeMounts" $starling | nindent 6 }}
    securityContext:
      runAsUser: 10001
      runAsNonRoot: true
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL]}
      seccompProfile: {type: RuntimeDefault}
volumes:
  {{- include "starling.volumes" $starling | nindent 2 }}
{{- end }}
