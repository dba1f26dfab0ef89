{{- /* Kubeflow Model Registry: what the operator is told, and the token that it sends there. */ -}}
{{- define "trimtab.modelRegistry" }}
{{- with .Values.stores.modelRegistry }}
{{- if .url }}
- name: TRIMTAB_MODEL_REGISTRY_URL
  value: {{ .url | quote }}
{{- if .audience }}
- name: TRIMTAB_MODEL_REGISTRY_TOKEN_FILE
  value: /var/run/secrets/trimtab/model-registry/token
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "trimtab.modelRegistryMount" }}
{{- with .Values.stores.modelRegistry }}
{{- if and .url .audience }}
- {name: model-registry, mountPath: /var/run/secrets/trimtab/model-registry, readOnly: true}
{{- end }}
{{- end }}
{{- end }}

{{- define "trimtab.modelRegistryVolume" }}
{{- with .Values.stores.modelRegistry }}
{{- if and .url .audience }}
- name: model-registry
  projected:
    sources:
      - serviceAccountToken: {path: token, expirationSeconds: 7200, audience: {{ .audience | quote }}}
{{- end }}
{{- end }}
{{- end }}
