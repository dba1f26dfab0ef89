{{- /* What one version's server is told; the same whatever its role. */ -}}
{{- define "model-release.env" -}}
{{- $runtime := include "model-release.runtime" .root | fromJson -}}
{{- range $name, $value := $runtime.env }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- with $runtime.envelopes }}
- {name: TS_SERVICE_ENVELOPE, value: {{ index . (include "model-release.protocol" $.root) }}}
{{- end }}
- {name: HOME, value: /tmp}
- {name: TRIMTAB_VERSION, value: {{ .version | quote }}}
- {name: TRIMTAB_DIGEST, value: {{ .digest | quote }}}
{{- with .root.Values.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "model-release.args" -}}
{{- $runtime := include "model-release.runtime" . | fromJson -}}
{{- with $runtime.command }}
command: {{ toJson . }}
{{- end }}
{{- with concat (default list $runtime.args) .Values.args }}
args: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "model-release.resources" -}}
{{- if kindIs "invalid" .Values.resources -}}
{{- fail "resources is null, but every pod has bounds: give requests and limits, or leave it out for the usual ones" -}}
{{- end -}}
{{- $found := deepCopy .Values.resources -}}
{{- if gt (int .Values.gpu.count) 0 -}}
{{- range $kind := list "requests" "limits" -}}
{{- $_ := set $found $kind (merge (dict $.Values.gpu.resource (int $.Values.gpu.count)) (default dict (index $found $kind))) -}}
{{- end -}}
{{- end -}}
{{- toYaml $found -}}
{{- end }}

{{- define "model-release.ready" -}}
{{- if .readyCommand -}}
exec: {command: {{ toJson .readyCommand }}}
{{- else -}}
httpGet: {path: {{ .ready | quote }}, port: 8080}
{{- end -}}
{{- end }}

{{- define "model-release.probes" -}}
{{- $runtime := include "model-release.runtime" . | fromJson -}}
startupProbe:
  {{- include "model-release.ready" $runtime | nindent 2 }}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 150
readinessProbe:
  {{- include "model-release.ready" $runtime | nindent 2 }}
  periodSeconds: 5
  timeoutSeconds: {{ ternary 5 3 (hasKey $runtime "readyCommand") }}
livenessProbe:
  httpGet: {path: {{ $runtime.live | quote }}, port: 8080}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
{{- end }}

{{- define "model-release.mounts" -}}
{{- $runtime := include "model-release.runtime" . | fromJson -}}
- {name: scratch, mountPath: /tmp}
{{- if eq .Values.runtime "kserve" }}
- {name: log, mountPath: /var/lib/trimtab{{ with .Values.predictionLog.path }}, subPath: {{ . | quote }}{{ end }}}
{{- end }}
{{- if $runtime.files }}
- {name: runtime, mountPath: /etc/runtime, readOnly: true}
{{- end }}
{{- end }}

{{- define "model-release.volumes" -}}
{{- $runtime := include "model-release.runtime" . | fromJson -}}
- {name: scratch, emptyDir: {sizeLimit: 1Gi}}
{{- if eq .Values.runtime "kserve" }}
- name: log
  {{- if .Values.predictionLog.claim }}
  persistentVolumeClaim: {claimName: {{ .Values.predictionLog.claim }}}
  {{- else }}
  emptyDir: {sizeLimit: {{ .Values.predictionLog.size }}}
  {{- end }}
{{- end }}
{{- if $runtime.files }}
- {name: runtime, configMap: {name: {{ include "model-release.fullname" . }}-runtime}}
{{- end }}
{{- end }}

{{- /* The files of a version in a pod of the chart's own: a claim is mounted, all else fetched first. */ -}}
{{- define "model-release.modelVolume" -}}
{{- if hasPrefix "pvc://" .uri -}}
- {name: model, persistentVolumeClaim: {claimName: {{ index (splitList "/" .uri) 2 }}, readOnly: true}}
{{- else if .uri -}}
- {name: model, emptyDir: {sizeLimit: 20Gi}}
{{- end -}}
{{- end }}

{{- define "model-release.modelMount" -}}
{{- if .uri -}}
{{- $path := "" -}}
{{- if hasPrefix "pvc://" .uri -}}
{{- $path = rest (rest (rest (splitList "/" .uri))) | join "/" | trimSuffix "/" -}}
{{- end -}}
- {name: model, mountPath: /mnt/models, readOnly: true{{ with $path }}, subPath: {{ . | quote }}{{ end }}}
{{- end -}}
{{- end }}

{{- define "model-release.fetch" -}}
- name: fetch
  image: {{ .root.Values.storage.initializer }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  args: [{{ .uri | quote }}, /mnt/models]
  env:
    - {name: HOME, value: /tmp}
    {{- with .root.Values.storage.secret }}
    {{- range $key := list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" }}
    - {name: {{ $key }}, valueFrom: {secretKeyRef: {name: {{ $.root.Values.storage.secret }}, key: {{ $key }}}}}
    {{- end }}
    {{- end }}
    {{- with .root.Values.storage.endpoint }}
    - {name: AWS_ENDPOINT_URL, value: {{ . | quote }}}
    - {name: S3_USE_HTTPS, value: {{ ternary "1" "0" (hasPrefix "https" .) | quote }}}
    {{- end }}
    {{- with .root.Values.storage.region }}
    - {name: AWS_DEFAULT_REGION, value: {{ . | quote }}}
    {{- end }}
  resources:
    requests: {cpu: 100m, memory: 128Mi}
    limits: {cpu: "1", memory: 1Gi}
  securityContext: {{- include "model-release.containerSecurity" .root | nindent 4 }}
  volumeMounts:
    - {name: model, mountPath: /mnt/models}
    - {name: scratch, mountPath: /tmp}
{{- end }}
