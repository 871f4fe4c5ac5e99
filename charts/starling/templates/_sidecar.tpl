{{/*
What a pod needs to have a sidecar. In a chart that depends on this one each is used as
{{ include "starling.sidecar" .Subcharts.starling | nindent 8 }}; the README shows a whole pod.
*/}}

{{/*
starling.sidecar is an item of a pod's initContainers: a native sidecar, which starts before the application and ends after it.
*/}}
{{- define "starling.sidecar" -}}
{{- if not .Values.sidecar.native -}}
{{- fail (printf "%ssidecar.native is false: include \"starling.container\" in the pod's containers in place of \"starling.sidecar\"" (include "starling.scope" .)) -}}
{{- end -}}
{{- if semverCompare "<1.29.0-0" .Capabilities.KubeVersion.Version -}}
{{- fail (printf "Kubernetes %s has no native sidecars, 1.29 has: set %ssidecar.native=false and include \"starling.container\" in the pod's containers" .Capabilities.KubeVersion.Version (include "starling.scope" .)) -}}
{{- end -}}
{{- include "starling.agent" . }}
  restartPolicy: Always
{{- end -}}

{{/*
starling.container is an item of a pod's containers, for clusters without native sidecars. It holds up its own end until the
application has gone; a Job with it does not end.
*/}}
{{- define "starling.container" -}}
{{- if .Values.sidecar.native -}}
{{- fail (printf "%ssidecar.native is true: include \"starling.sidecar\" in the pod's initContainers in place of \"starling.container\"" (include "starling.scope" .)) -}}
{{- end -}}
{{- include "starling.agent" . }}
{{- end -}}

{{/*
starling.image is the reference of the image.
*/}}
{{- define "starling.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "starling.agent" -}}
{{- $s := .Values.sidecar -}}
- name: starling
  image: {{ include "starling.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  args: [agent]
  env:
    - name: GOMEMLIMIT
      valueFrom: {resourceFieldRef: {containerName: starling, resource: limits.memory}}
    - name: STARLING_ZONE
      valueFrom: {fieldRef: {fieldPath: "metadata.labels['topology.kubernetes.io/zone']"}}
    - name: STARLING_ADMIN_SOCKET
      value: /run/starling-admin/admin.sock
    {{- with $s.env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    - {name: starling, containerPort: {{ int .Values.ports.starling }}, protocol: TCP}
    - {name: starling-http, containerPort: {{ int .Values.ports.http }}, protocol: TCP}
    {{- if eq .Values.discovery.strategy "gossip" }}
    - {name: starling-gossip, containerPort: {{ int .Values.ports.gossip }}, protocol: TCP}
    - {name: starling-gosudp, containerPort: {{ int .Values.ports.gossip }}, protocol: UDP}
    {{- end }}
  startupProbe:
    httpGet: {path: /startupz, port: {{ int .Values.ports.http }}}
    periodSeconds: 1
    timeoutSeconds: 5
    failureThreshold: 60
  livenessProbe:
    httpGet: {path: /livez, port: {{ int .Values.ports.http }}}
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 3
  {{- if $s.readiness }}
  readinessProbe:
    httpGet: {path: /readyz, port: {{ int .Values.ports.http }}}
    periodSeconds: 2
    timeoutSeconds: 5
  {{- end }}
  lifecycle:
    preStop:
      exec:
        command: [/starling, drain{{ if not $s.native }}, --wait, {{ printf "%ds" (int $s.waitSeconds) }}{{ end }}]
  resources:
    {{- toYaml $s.resources | nindent 4 }}
  securityContext:
    {{- toYaml $s.securityContext | nindent 4 }}
  volumeMounts:
    - {name: starling-socket, mountPath: /run/starling}
    - {name: starling-admin, mountPath: /run/starling-admin}
    - {name: starling-config, mountPath: /etc/starling, readOnly: true}
    {{- if include "starling.certificates" . }}
    - {name: starling-tls, mountPath: /etc/starling-tls, readOnly: true}
    {{- end }}
    {{- if include "starling.token" . }}
    - {name: starling-token, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
    {{- end }}
    {{- with $s.volumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/*
starling.token is not empty if the sidecar asks the API server. It gets a token of its own; the application needs none.
*/}}
{{- define "starling.token" -}}
{{- if eq .Values.discovery.strategy "kubernetes" -}}yes{{- end -}}
{{- end -}}

{{/*
starling.volumes are items of a pod's volumes.
*/}}
{{- define "starling.volumes" -}}
- name: starling-socket
  emptyDir: {}
- name: starling-admin
  emptyDir: {}
- name: starling-config
  projected:
    defaultMode: 0444
    sources:
      - configMap: {name: {{ include "starling.fullname" . }}, items: [{key: config.yaml, path: config.yaml}]}
      {{- if not (include "starling.certificates" .) }}
      - secret:
          name: {{ include "starling.keySecret" . }}
          items:
            - {key: {{ .Values.security.keyEntry | quote }}, path: key}
            {{- with .Values.security.acceptKeyEntry }}
            - {key: {{ . | quote }}, path: accept_key}
            {{- end }}
      {{- end }}
{{- if include "starling.certificates" . }}
- name: starling-tls
  {{- if .Values.security.certificates.volume }}
  {{- toYaml .Values.security.certificates.volume | nindent 2 }}
  {{- else }}
  secret: {secretName: {{ include "starling.certificateSecret" . }}, defaultMode: 0444}
  {{- end }}
{{- end }}
{{- if include "starling.token" . }}
- name: starling-token
  projected:
    defaultMode: 0444
    sources:
      - serviceAccountToken: {path: token, expirationSeconds: 3607}
      - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
      - downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}
{{- end }}
{{- with .Values.sidecar.volumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
starling.app is what the application's container gets: where the socket is, and a moment in which it is asked no more and
not ended yet. Each part is a template of its own for a container that has such a part already: starling.appEnv and
starling.appVolumeMounts are items of env and volumeMounts, starling.appLifecycle is lifecycle's.
*/}}
{{- define "starling.app" -}}
env:
  {{- include "starling.appEnv" . | nindent 2 }}
volumeMounts:
  {{- include "starling.appVolumeMounts" . | nindent 2 }}
{{- with include "starling.appLifecycle" . }}
lifecycle:
  {{- . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "starling.appEnv" -}}
- name: STARLING_SOCKET
  value: /run/starling/api.sock
{{- end -}}

{{- define "starling.appVolumeMounts" -}}
- {name: starling-socket, mountPath: /run/starling, readOnly: true}
{{- end -}}

{{- /* Pods have sleep since Kubernetes 1.30. */}}
{{- define "starling.appLifecycle" -}}
{{- if and .Values.sidecar.settleSeconds (semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version) -}}
preStop:
  sleep: {seconds: {{ int .Values.sidecar.settleSeconds }}}
{{- end -}}
{{- end -}}
