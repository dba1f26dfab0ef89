{{- define "trimtab.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "trimtab.fullname" -}}
{{- $name := include "trimtab.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "trimtab.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: trimtab
{{ include "trimtab.selector" . }}
{{- end }}

{{- define "trimtab.selector" -}}
app.kubernetes.io/name: {{ include "trimtab.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "trimtab.image" -}}
{{- $tag := default (printf "%s-python3.11" .Chart.AppVersion) .Values.image.tag -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ $tag }}
{{- end -}}
{{- end }}

{{- define "trimtab.serverImage" -}}
{{- if .Values.serverImage.digest -}}
{{ .Values.serverImage.repository }}@{{ .Values.serverImage.digest }}
{{- else -}}
{{ .Values.serverImage.repository }}:{{ default .Chart.AppVersion .Values.serverImage.tag }}
{{- end -}}
{{- end }}

{{- define "trimtab.claim" -}}
{{- default (include "trimtab.fullname" .) .Values.volume.existingClaim -}}
{{- end }}

{{- define "trimtab.serviceAccount" -}}
{{- if .Values.serviceAccount.name -}}{{ .Values.serviceAccount.name }}
{{- else if .Values.serviceAccount.create -}}{{ include "trimtab.fullname" . }}
{{- else -}}
{{- fail "serviceAccount.create is false: name the account that is there already in serviceAccount.name" -}}
{{- end -}}
{{- end }}

{{- /* Namespaces whose loops are turned, one a line: never empty, so that a mistake cannot widen the rights. */ -}}
{{- define "trimtab.namespaces" -}}
{{- if and .Values.operator.clusterWide .Values.operator.namespaces -}}
{{- fail "operator.clusterWide and operator.namespaces exclude each other: leave one of them out" -}}
{{- end -}}
{{- join "," (default (list .Release.Namespace) .Values.operator.namespaces) -}}
{{- end }}

{{- define "trimtab.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "trimtab.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "trimtab.pullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "trimtab.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{- /* The same as the operator is told it: empty is the whole cluster. */ -}}
{{- define "trimtab.watched" -}}
{{- $names := include "trimtab.namespaces" . -}}
{{- if not .Values.operator.clusterWide }}{{ $names }}{{ end -}}
{{- end }}

{{- /* The ports of a list of URLs, as JSON: those that are said, else the scheme's. */ -}}
{{- define "trimtab.ports" -}}
{{- $found := list -}}
{{- range . -}}
{{- if regexMatch "^https?://" . -}}
{{- $said := regexFind ":[0-9]+$" (urlParse .).host -}}
{{- $found = append $found (int (default (ternary "443" "80" (hasPrefix "https" .)) (trimPrefix ":" $said))) -}}
{{- end -}}
{{- end -}}
{{- toJson $found -}}
{{- end }}
