{{- /* A predictor of one version; the same whatever its role, so that a promotion makes no new pods and no revision. */ -}}
{{- define "model-release.predictor" -}}
{{- $v := .root.Values -}}
{{- $runtime := include "model-release.runtime" .root | fromJson -}}
{{- $existing := $v.kserve.servingRuntime -}}
{{- if eq $v.router "kserve-standard" }}
name: v{{ .version }}
{{- end }}
labels: {trimtab.dev/version: {{ .version | quote }}}
serviceAccountName: {{ include "model-release.serviceAccount" .root }}
timeout: {{ $v.limits.timeoutSeconds }}
{{- include "model-release.pullSecrets" .root }}
{{- include "model-release.placement" .root }}
{{- if $existing }}
volumes:
  - {name: release-scratch, emptyDir: {sizeLimit: 1Gi}}
{{- end }}
model:
  name: kserve-container
  modelFormat: {name: {{ default $runtime.format $v.kserve.format }}}
  runtime: {{ default (include "model-release.fullname" .root) $existing }}
  protocolVersion: {{ include "model-release.protocol" .root }}
  {{- with .uri }}
  storageUri: {{ . | quote }}
  {{- end }}
  {{- $args := $v.args }}
  {{- if eq $v.runtime "kserve" }}
  {{- /* Behind the runtime's own arguments, where the last one counts: its name would be that of the object. */}}
  {{- $args = concat (list (printf "--name=%s" (include "model-release.model" .root))) $args }}
  {{- end }}
  {{- if and $existing $args }}
  args: {{- toYaml $args | nindent 4 }}
  {{- end }}
  {{- if and $existing (or $v.image.repository $v.image.tag $v.image.digest) }}
  image: {{ include "model-release.image" .root }}
  {{- end }}
  env: {{- include "model-release.env" . | nindent 4 }}
  resources: {{- include "model-release.resources" .root | nindent 4 }}
  securityContext: {{- include "model-release.containerSecurity" .root | nindent 4 }}
  {{- if $existing }}
  volumeMounts:
    - {name: release-scratch, mountPath: /tmp}
  {{- end }}
{{- end }}
