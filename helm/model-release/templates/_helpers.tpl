{{- define "model-release.fullname" -}}
{{- default .Release.Name .Values.nameOverride | trunc 30 | trimSuffix "-" -}}
{{- end }}

{{- define "model-release.model" -}}
{{- default (include "model-release.fullname" .) .Values.model -}}
{{- end }}

{{- define "model-release.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: trimtab
{{ include "model-release.selector" . }}
{{- end }}

{{- define "model-release.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* The versions that are there, as a JSON list of {role, version, uri, digest, replicas}. */ -}}
{{- define "model-release.versions" -}}
{{- $found := list -}}
{{- range $role := list "champion" "challenger" "shadow" -}}
{{- $one := index $.Values $role -}}
{{- if $one.version -}}
{{- /* `--set champion.version=1` is a number to Helm. */ -}}
{{- $version := ternary $one.version (int64 $one.version | toString) (kindIs "string" $one.version) -}}
{{- $found = append $found (merge (dict "role" $role "version" $version) $one) -}}
{{- end -}}
{{- end -}}
{{- toJson $found -}}
{{- end }}

{{- /* A version keeps this name whatever its role is, so that a promotion starts no pod anew. */ -}}
{{- define "model-release.versioned" -}}
{{- printf "%s-v%s" (include "model-release.fullname" .root) .version -}}
{{- end }}

{{- define "model-release.runtime" -}}
{{- $text := .Files.Get "files/runtimes.yaml" | replace "@MODEL@" (include "model-release.model" .) -}}
{{- $text = $text | replace "@BYTES@" (int64 .Values.limits.maxBodyBytes | toString) -}}
{{- $text = $text | replace "@SECONDS@" (int64 .Values.limits.timeoutSeconds | toString) -}}
{{- toJson (index (fromYaml $text) .Values.runtime) -}}
{{- end }}

{{- define "model-release.image" -}}
{{- $runtime := include "model-release.runtime" . | fromJson -}}
{{- $image := .Values.image -}}
{{- $repository := default $runtime.image $image.repository -}}
{{- if $image.digest -}}
{{ $repository }}@{{ $image.digest }}
{{- else -}}
{{ $repository }}:{{ default (default .Chart.AppVersion $runtime.tag) $image.tag }}
{{- end -}}
{{- end }}

{{- define "model-release.protocol" -}}
{{- $runtime := include "model-release.runtime" . | fromJson -}}
{{- default (first $runtime.protocols) .Values.protocol -}}
{{- end }}

{{- /* The chart makes the pods itself; elsewhere KServe or Seldon does. */ -}}
{{- define "model-release.ownPods" -}}
{{- if has .Values.router (list "envoy" "gateway-api") }}yes{{ end -}}
{{- end }}

{{- /* Whether the files of a version are fetched, and not found on a volume or in the image. */ -}}
{{- define "model-release.fetched" -}}
{{- if and .uri (not (hasPrefix "pvc://" .uri)) }}yes{{ end -}}
{{- end }}

{{- define "model-release.serviceAccount" -}}
{{- default (include "model-release.fullname" .) .Values.serviceAccount.name -}}
{{- end }}

{{- define "model-release.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- /* Whole by itself: KServe and Seldon make the pods around these containers. */ -}}
{{- define "model-release.containerSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "model-release.pullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "model-release.placement" -}}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
