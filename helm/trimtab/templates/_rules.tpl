{{- /* What the operator may do in a namespace. It reads no secrets: pods that need them name them. */ -}}
{{- define "trimtab.rules" -}}
- apiGroups: [trimtab.dev]
  resources: [modelloops]
  verbs: [get, list, watch, patch, update]
- apiGroups: [trimtab.dev]
  resources: [modelloops/status, modelloops/finalizers]
  verbs: [get, patch, update]
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
  verbs: [get, list, create, patch, delete]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, create, patch, update, delete]
# Patched is an annotation of the routers' pods: the kubelet looks at once for routes that changed.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, patch]
{{- if .Values.rbac.kserve }}
- apiGroups: [serving.kserve.io]
  resources: [inferenceservices]
  verbs: [get, list, watch, create, patch, update, delete]
# Read: whether KServe's route, or Knative's revisions, are as they were asked for.
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get]
- apiGroups: [serving.knative.dev]
  resources: [revisions]
  verbs: [list]
{{- end }}
{{- if .Values.rbac.gatewayApi }}
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, watch, create, patch, update, delete]
- apiGroups: [gateway.networking.k8s.io]
  resources: [gateways]
  verbs: [get]
{{- end }}
{{- end }}
