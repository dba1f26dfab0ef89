{{- /* What cannot work is refused before anything is made: the rule, the value, and what to do instead. */ -}}
{{- define "trimtab.check" -}}
{{- $v := .Values -}}
{{- $name := include "trimtab.fullname" . -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- fail (printf "what is made would be named %s, after the release %s, but Services must be named with a-z, 0-9 and dashes and begin with a letter (DNS-1035): choose another name for the release%s" $name .Release.Name (ternary " and nameOverride" "" (not (empty .Values.nameOverride)))) -}}
{{- end -}}
{{- range $name, $given := dict "operator.resources" $v.operator.resources "collector.resources" $v.collector.resources "loops.resources" $v.loops.resources -}}
{{- if kindIs "invalid" $given -}}
{{- fail (printf "%s is null, but every pod has bounds: give requests and limits, or leave it out for the usual ones" $name) -}}
{{- end -}}
{{- end -}}
{{- include "trimtab.check.places" . -}}
{{- if and (eq $v.router.kind "gateway-api") (not $v.router.gateway) -}}
{{- fail "router.kind is gateway-api, but router.gateway is empty: name the Gateway that routes hang on, such as istio-system/public; `kubectl get gateways -A` lists them" -}}
{{- end -}}
{{- if and (ne $v.router.kind "envoy") (not $v.router.prometheusUrl) -}}
{{- fail (printf "router.kind is %s, which counts requests and failures by Prometheus, but router.prometheusUrl is empty: give its URL, such as http://prometheus.monitoring.svc:9090, or choose the router envoy" $v.router.kind) -}}
{{- end -}}
{{- if and (or $v.kserve.storageUri $v.kserve.payloadLogger) (not (include "trimtab.onKServe" .)) -}}
{{- fail (printf "kserve.%s is set, but with router.kind %s KServe serves no version: choose kserve-standard or kserve-knative, give gateway-api a kserve.storageUri, or leave `kserve` out" (ternary "storageUri" "payloadLogger" (not (empty $v.kserve.storageUri))) $v.router.kind) -}}
{{- end -}}
{{- if eq $v.pipelines.kind "kubeflow" -}}
{{- if not $v.pipelines.url -}}
{{- fail "pipelines.kind is kubeflow, but pipelines.url is empty: give the URL of KFP's API, such as http://ml-pipeline.kubeflow.svc:8888" -}}
{{- end -}}
{{- range $name := list "trackingUri" "records" -}}
{{- if not (index $v.stores $name) -}}
{{- fail (printf "pipelines.kind is kubeflow, whose pods do not see the volume, but stores.%s is empty: give %s, or choose pipelines.kind job" $name (get (dict "trackingUri" "the URL of an MLflow server" "records" "the place of the logs, such as s3://bucket/logs") $name)) -}}
{{- end -}}
{{- end -}}
{{- else if or $v.pipelines.url $v.pipelines.namespace $v.pipelines.serviceAccount -}}
{{- fail "pipelines.kind is job, which asks no Kubeflow Pipelines, but pipelines.url, namespace or serviceAccount is set: choose pipelines.kind kubeflow, or leave them out" -}}
{{- end -}}
{{- $ours := list -}}
{{- range include "trimtab.environment" . | fromYamlArray }}{{ $ours = append $ours .name }}{{ end -}}
{{- range $v.operator.env -}}
{{- if has .name $ours -}}
{{- fail (printf "operator.env sets %s, which the chart sets from other values: use those (stores, router, kserve, pipelines; the README lists them), and leave it out of operator.env" .name) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "trimtab.check.places" -}}
{{- $v := .Values -}}
{{- if and $v.operator.clusterWide (not $v.volume.shared) -}}
{{- fail (printf "operator.clusterWide is true, but a claim reaches no namespace besides its own, so loops elsewhere than in %s would be refused: let there be a claim named %s on the same storage in each namespace with loops and set volume.shared to true, or install one release a namespace" .Release.Namespace (include "trimtab.claim" .)) -}}
{{- end -}}
{{- range $v.operator.namespaces -}}
{{- if and (ne . $.Release.Namespace) (not $v.volume.shared) -}}
{{- fail (printf "operator.namespaces names %s, but a claim reaches no namespace besides its own (%s), so loops there would be refused: let there be a claim named %s on the same storage in each of them and set volume.shared to true, or install one release a namespace" . $.Release.Namespace (include "trimtab.claim" $)) -}}
{{- end -}}
{{- end -}}
{{- if and $v.operator.clusterWide $v.loops.serviceAccountAnnotations -}}
{{- fail "loops.serviceAccountAnnotations is set, but with operator.clusterWide there is no account of the loops' own in namespaces nobody named: annotate the default accounts, or list the namespaces in operator.namespaces" -}}
{{- end -}}
{{- end }}
