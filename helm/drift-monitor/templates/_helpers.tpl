{{- define "drift-monitor.fullname" -}}
{{- default .Release.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "drift-monitor.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: trimtab
{{ include "drift-monitor.selector" . }}
{{- end }}

{{- define "drift-monitor.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "drift-monitor.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default (printf "%s-python3.11" .Chart.AppVersion) .Values.image.tag }}
{{- end -}}
{{- end }}

{{- define "drift-monitor.serviceAccount" -}}
{{- default (include "drift-monitor.fullname" .) .Values.serviceAccount.name -}}
{{- end }}

{{- define "drift-monitor.loop" -}}
{{- default .Release.Name .Values.trigger.operator.loop -}}
{{- end }}

{{- define "drift-monitor.onVolume" -}}
{{- if hasPrefix "pvc://" .Values.champion.uri }}yes{{ end -}}
{{- end }}

{{- define "drift-monitor.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* What cannot work is refused before anything is made: the rule, the value, and what to do instead. */ -}}
{{- define "drift-monitor.check" -}}
{{- $v := .Values -}}
{{- $name := include "drift-monitor.fullname" . -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- fail (printf "what is made would be named %s, after the release %s, but Services must be named with a-z, 0-9 and dashes and begin with a letter (DNS-1035): choose another name for the release%s" $name .Release.Name (ternary " and nameOverride" ", or give nameOverride" (not (empty .Values.nameOverride)))) -}}
{{- end -}}
{{- if kindIs "invalid" $v.resources -}}
{{- fail "resources is null, but every pod has bounds: give requests and limits, or leave it out for the usual ones" -}}
{{- end -}}
{{- if and $v.loop.document $v.loop.configMap -}}
{{- fail (printf "loop.document and loop.configMap (%s) are both given: leave one of them out" $v.loop.configMap) -}}
{{- end -}}
{{- if not (or $v.loop.document $v.loop.configMap) -}}
{{- fail "loop.document is empty: give the loop with --set-file loop.document=loop.yaml, or name its ConfigMap in loop.configMap" -}}
{{- end -}}
{{- if $v.loop.document -}}
{{- $kind := dig "kind" "" (fromYaml $v.loop.document) -}}
{{- if ne (toString $kind) "ModelLoop" -}}
{{- fail (printf "loop.document is of kind %q, not ModelLoop: give the text of the file with --set-file loop.document=loop.yaml, and check that with `trimtab validate loop.yaml`" (toString $kind)) -}}
{{- end -}}
{{- end -}}
{{- range $name := list "version" "uri" "digest" -}}
{{- if not (index $v.champion $name) -}}
{{- fail (printf "champion.%s is empty: `trimtab status --json` tells version and digest of the champion, the registry where its bundle is" $name) -}}
{{- end -}}
{{- end -}}
{{- if not $v.logs.claim -}}
{{- fail "logs.claim is empty: name the claim of the collector, such as trimtab-collector; `kubectl get pvc` lists them" -}}
{{- end -}}
{{- if and (eq $v.trigger.kind "kfp") (not $v.trigger.kfp.host) -}}
{{- fail "trigger.kind is kfp, but trigger.kfp.host is empty: give the URL of its API, such as http://ml-pipeline.kubeflow.svc:8888" -}}
{{- end -}}
{{- if and (eq $v.trigger.kind "webhook") (not $v.trigger.webhook.url) -}}
{{- fail "trigger.kind is webhook, but trigger.webhook.url is empty: give the URL that the verdict is sent to" -}}
{{- end -}}
{{- if and (ne $v.trigger.kind "none") (not $v.reports.persistent) -}}
{{- fail (printf "trigger.kind is %s, but reports.persistent is false: what was started would be forgotten, and a cause that stands would start a run at every look; set it to true" $v.trigger.kind) -}}
{{- end -}}
{{- end }}
