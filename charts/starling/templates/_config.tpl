{{/*
starling.config is the agent's configuration: what the chart knows, and over it .Values.config, in the agent's own words.
*/}}
{{- define "starling.config" -}}
{{- $given := deepCopy .Values.config -}}
{{- $sources := concat (include "starling.source" . | fromYamlArray) (dig "discovery" "sources" list $given) -}}
{{- $ours := dict
      "cluster" (default (printf "%s/%s" .Release.Namespace .Release.Name) .Values.cluster)
      "zone" "${STARLING_ZONE:-}"
      "listen" (printf ":%d" (int .Values.ports.starling))
      "http" (dict "listen" (printf ":%d" (int .Values.ports.http)))
      "admin" (dict "socket" "/run/starling-admin/admin.sock")
      "log" (dict "format" "json")
-}}
{{- if include "starling.certificates" . -}}
{{- $_ := set $ours "security" (dict
      "certificate_file" "/etc/starling-tls/tls.crt"
      "key_file" "/etc/starling-tls/tls.key"
      "authority_file" "/etc/starling-tls/ca.crt"
      "identity" .Values.security.certificates.identity) -}}
{{- else -}}
{{- $security := dict "key" "file:/etc/starling/key" -}}
{{- if .Values.security.acceptKeyEntry -}}
{{- $_ := set $security "accept_key" "file:/etc/starling/accept_key" -}}
{{- end -}}
{{- $_ := set $ours "security" $security -}}
{{- end -}}
{{- $all := mergeOverwrite $ours $given -}}
{{- $_ := set $all "discovery" (merge (dict "sources" $sources) (default dict $given.discovery)) -}}
{{- toYaml $all -}}
{{- end -}}

{{/*
starling.source is a list: the source of addresses that .Values.discovery asks for, or nothing.
*/}}
{{- define "starling.source" -}}
{{- $d := .Values.discovery -}}
{{- $service := include "starling.fullname" . -}}
{{- if eq $d.strategy "kubernetes" }}
- kind: kubernetes
  resource: {{ $d.resource }}
  port: starling
  {{- if eq $d.resource "endpointslices" }}
  services: [{{ $service | quote }}]
  {{- else }}
  label_selector: {{ include "starling.podLabels" . | replace ": " "=" | quote }}
  {{- end }}
  {{- with $d.namespaces }}
  namespaces: {{ toJson . }}
  {{- end }}
{{- else if eq $d.strategy "dns" }}
- kind: dns
  names: [{{ printf "_starling._tcp.%s.%s.svc" $service .Release.Namespace | quote }}]
{{- else if eq $d.strategy "gossip" }}
- kind: gossip
  join: [{{ printf "%s.%s.svc:%d" $service .Release.Namespace (int .Values.ports.gossip) | quote }}]
  bind: {{ printf ":%d" (int .Values.ports.gossip) | quote }}
{{- else }}
[]
{{- end }}
{{- end -}}
