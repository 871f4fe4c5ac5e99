{{/*
starling.newKey is a fresh key as `starling keygen` makes it: starling1-, and in base32 256 random bits and the first 24 of
their SHA-256. The 52nd of base32's letters has the last random bit and the first hex digit of the sum; the other five
digits are the last four letters.
*/}}
{{- define "starling.newKey" -}}
{{- $letters := list "a" "b" "c" "d" "e" "f" "g" "h" "i" "j" "k" "l" "m" "n" "o" "p" "q" "r" "s" "t" "u" "v" "w" "x" "y" "z" "2" "3" "4" "5" "6" "7" -}}
{{- $secret := randBytes 32 | b64dec -}}
{{- $digits := list -}}
{{- range sha256sum $secret | trunc 6 | splitList "" -}}
{{- $digits = append $digits (index (dict "0" 0 "1" 1 "2" 2 "3" 3 "4" 4 "5" 5 "6" 6 "7" 7 "8" 8 "9" 9 "a" 10 "b" 11 "c" 12 "d" 13 "e" 14 "f" 15) .) -}}
{{- end -}}
{{- $text := b32enc $secret | lower -}}
{{- $middle := index $digits 0 -}}
{{- if eq (substr 51 52 $text) "q" -}}{{- $middle = add $middle 16 -}}{{- end -}}
{{- $rest := 0 -}}
{{- range rest $digits -}}{{- $rest = add (mul $rest 16) . -}}{{- end -}}
starling1-{{ substr 0 51 $text }}{{ index $letters (int $middle) }}
{{- range list 32768 1024 32 1 }}{{ index $letters (mod (div $rest .) 32 | int) }}{{ end -}}
{{- end -}}

{{/*
starling.key is the release's own key: the one that its Secret has, else a fresh one. Where no cluster can be asked (helm
template, and what is built upon it) it refuses: each rendering would make another key, and the sidecars of one would not
know those of the other. Any namespace has a ServiceAccount; one that is still to be made has none, but "default" exists.
*/}}
{{- define "starling.key" -}}
{{- $name := include "starling.keySecret" . -}}
{{- $kept := lookup "v1" "Secret" .Release.Namespace $name -}}
{{- if $kept -}}
{{- $key := index (default dict $kept.data) .Values.security.keyEntry -}}
{{- required (printf "the Secret %s/%s has no entry %q: give it one (starling keygen makes a key), or delete it to have a new one made" .Release.Namespace $name .Values.security.keyEntry) $key | b64dec -}}
{{- else if or (lookup "v1" "ServiceAccount" .Release.Namespace "default") (lookup "v1" "Namespace" "" "default") -}}
{{- include "starling.newKey" . -}}
{{- else -}}
{{- fail (printf "\n\nThere is no cluster to ask for the key's Secret, as with `helm template`, and a key made now would be another one at each rendering. Make the Secret once:\n\n    kubectl create secret generic %s --namespace %s --from-literal=%s=\"$(starling keygen)\"\n\nand name it: --set %ssecurity.existingSecret=%s" $name .Release.Namespace .Values.security.keyEntry (include "starling.scope" .) $name) -}}
{{- end -}}
{{- end -}}

{{/*
starling.scope is what stands before this chart's values in those of a chart that depends on it.
*/}}
{{- define "starling.scope" -}}
{{- if not .Chart.IsRoot }}{{ .Chart.Name }}.{{ end -}}
{{- end -}}
