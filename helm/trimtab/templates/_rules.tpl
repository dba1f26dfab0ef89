{{- /* What the operator may do in a namespace. It reads no secrets: pods that need them name them. */ -}}
{{- define "trimtab.rules" -}}
- apiGroups: [trimtab.dev]
  resources: [modelloops]
  verbs: [get, list, watch, patch]
- apiGroups: [trimtab.dev]
  resources: [modelloops/status]
  verbs: [patch]
# Runs name their loop as their owner, and block its deletion in the foreground.
- apiGroups: [trimtab.dev]
  resources: [modelloops/finalizers]
  verbs: [update]
- apiGroups: ["", events.k8s.io]
  resources: [events]
  verbs: [create, patch]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, create, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, create, patch, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [list, create, patch, delete]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, create, patch, update, delete]
# Patched is an annotation of the routers' pods: the kubelet looks at once for routes that changed.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, patch]
{{- if or .Values.rbac.kserve (include "trimtab.onKServe" .) }}
- apiGroups: [serving.kserve.io]
  resources: [inferenceservices]
  verbs: [get, list, create, patch, delete]
# Read: whether KServe's route, or Knative's revisions, are as they were asked for.
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get]
- apiGroups: [serving.knative.dev]
  resources: [revisions]
  verbs: [list]
{{- end }}
{{- if or .Values.rbac.gatewayApi (eq .Values.router.kind "gateway-api") }}
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, create, patch, delete]
- apiGroups: [gateway.networking.k8s.io]
  resources: [gateways]
  verbs: [get]
{{- end }}
{{- end }}
