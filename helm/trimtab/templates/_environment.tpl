{{- /* What the operator is told besides operator.env. */ -}}
{{- define "trimtab.environment" -}}
# Empty is the whole cluster.
- name: TRIMTAB_NAMESPACES
  value: {{ include "trimtab.watched" . | quote }}
- name: TRIMTAB_METRICS_PORT
  value: "9090"
- name: TRIMTAB_HEALTH_PORT
  value: "8080"
- name: TRIMTAB_WORKERS
  value: {{ .Values.operator.workers | quote }}
- name: TRIMTAB_BUSY_SECONDS
  value: {{ .Values.operator.busySeconds | quote }}
- name: TRIMTAB_IDLE_SECONDS
  value: {{ .Values.operator.idleSeconds | quote }}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
# What the pods are made of that it makes for the loops.
- name: TRIMTAB_IMAGE
  value: {{ include "trimtab.image" . | quote }}
- name: TRIMTAB_SERVER_IMAGE
  value: {{ include "trimtab.serverImage" . | quote }}
- name: TRIMTAB_PULL_POLICY
  value: {{ .Values.image.pullPolicy }}
- name: TRIMTAB_PULL_SECRETS
  value: {{ join "," .Values.imagePullSecrets | quote }}
- name: TRIMTAB_CLAIM
  value: {{ include "trimtab.claim" . }}
- name: TRIMTAB_VOLUME
  value: /var/lib/trimtab
{{- if .Values.volume.shared }}
- name: TRIMTAB_VOLUME_SHARED
  value: "true"
{{- end }}
# Of all namespaces none can be made beforehand: pods then have the namespace's default, whose token they do not mount.
- name: TRIMTAB_POD_ACCOUNT
  value: {{ if .Values.operator.clusterWide }}""{{ else }}{{ include "trimtab.fullname" . }}-loops{{ end }}
- name: TRIMTAB_RESOURCES
  value: {{ toJson .Values.loops.resources | quote }}
- name: TRIMTAB_POD_ENV
  value: {{ toJson .Values.loops.env | quote }}
- name: TRIMTAB_POD_NODES
  value: {{ toJson .Values.loops.nodeSelector | quote }}
- name: TRIMTAB_JOB_SECONDS
  value: {{ .Values.loops.jobSeconds | quote }}
- name: TRIMTAB_START_SECONDS
  value: {{ .Values.loops.startSeconds | quote }}
- name: TRIMTAB_SERVER_SECONDS
  value: {{ .Values.loops.serverSeconds | quote }}
- name: TRIMTAB_DRAIN_SECONDS
  value: {{ .Values.loops.drainSeconds | quote }}
{{- with .Values.stores.trackingUri }}
- name: TRIMTAB_TRACKING_URI
  value: {{ . | quote }}
{{- end }}
{{- with .Values.stores.ledgerSecret }}
{{- if .name }}
- name: TRIMTAB_LEDGER_URL
  valueFrom: {secretKeyRef: {name: {{ .name }}, key: {{ .key }}}}
- name: TRIMTAB_LEDGER_SECRET
  value: {{ printf "%s/%s" .name .key | quote }}
{{- end }}
{{- end }}
{{- with .Values.loops.feedbackSecret }}
{{- if .name }}
- name: TRIMTAB_FEEDBACK_SECRET
  value: {{ printf "%s/%s" .name .key | quote }}
{{- end }}
{{- end }}
{{- with .Values.stores.artifacts }}
- name: TRIMTAB_ARTIFACT_ROOT
  value: {{ . | quote }}
{{- end }}
{{- with .Values.stores.records }}
# The operator tells each loop its own part of it.
- name: TRIMTAB_RECORD_STORE
  value: {{ . | quote }}
{{- end }}
{{- include "trimtab.modelRegistry" . }}
{{- include "trimtab.routing" . }}
{{- include "trimtab.running" . }}
{{- end }}

{{- define "trimtab.routing" }}
{{- $given := dict "TRIMTAB_ROUTER" .Values.router.kind "TRIMTAB_GATEWAY" .Values.router.gateway "TRIMTAB_DOMAIN" .Values.router.domain }}
{{- $_ := set $given "TRIMTAB_METRICS" .Values.router.metrics }}
{{- $_ := set $given "TRIMTAB_PROMETHEUS_URL" .Values.router.prometheusUrl }}
{{- $_ := set $given "TRIMTAB_GATEWAY_MARKS_COPIES" (ternary "true" "" .Values.router.marksCopies) }}
{{- $_ := set $given "TRIMTAB_PROMETHEUS_TOKEN_FILE" (ternary "/etc/trimtab/prometheus/token" "" (not (empty .Values.router.prometheusTokenSecret.name))) }}
{{- if include "trimtab.onKServe" . }}
{{- $_ := set $given "TRIMTAB_STORAGE_ROOT" "/var/lib/trimtab" }}
{{- $_ := set $given "TRIMTAB_STORAGE_URI" (default (printf "pvc://%s" (include "trimtab.claim" .)) .Values.kserve.storageUri) }}
{{- $_ := set $given "TRIMTAB_SERVING_RUNTIME" .Values.kserve.runtime }}
{{- $_ := set $given "TRIMTAB_SERVING_ACCOUNT" .Values.kserve.serviceAccount }}
{{- $_ := set $given "TRIMTAB_KSERVE_LOGGER" (ternary "true" "" .Values.kserve.payloadLogger) }}
{{- end }}
{{- range $name, $value := $given }}
{{- if $value }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "trimtab.running" }}
- name: TRIMTAB_PIPELINES
  value: {{ .Values.pipelines.kind }}
{{- if eq .Values.pipelines.kind "kubeflow" }}
- name: TRIMTAB_KFP_URL
  value: {{ .Values.pipelines.url | quote }}
# Where KFP's own SDK looks for it too.
- name: KF_PIPELINES_SA_TOKEN_PATH
  value: /var/run/secrets/kubeflow/pipelines/token
{{- with .Values.pipelines.namespace }}
- name: TRIMTAB_KFP_NAMESPACE
  value: {{ . }}
{{- end }}
{{- with .Values.pipelines.serviceAccount }}
- name: TRIMTAB_KFP_ACCOUNT
  value: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Whether versions are served by KServe. */ -}}
{{- define "trimtab.onKServe" -}}
{{- if or (hasPrefix "kserve" .Values.router.kind) (and (eq .Values.router.kind "gateway-api") .Values.kserve.storageUri) }}yes{{ end -}}
{{- end }}
