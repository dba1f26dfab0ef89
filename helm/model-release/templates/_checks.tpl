{{- /* What cannot work is refused before anything is made: the rule, the value, and what to do instead. */ -}}
{{- define "model-release.check" -}}
{{- $v := .Values -}}
{{- $name := include "model-release.fullname" . -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- fail (printf "what is made would be named %s, after the release %s, but Services must be named with a-z, 0-9 and dashes and begin with a letter (DNS-1035): choose another name for the release%s" $name .Release.Name (ternary " and nameOverride" ", or give nameOverride" (not (empty .Values.nameOverride)))) -}}
{{- end -}}
{{- if kindIs "invalid" $v.envoy.resources -}}
{{- fail "envoy.resources is null, but every pod has bounds: give requests and limits, or leave it out for the usual ones" -}}
{{- end -}}
{{- $runtime := include "model-release.runtime" . | fromJson -}}
{{- $versions := include "model-release.versions" . | fromJsonArray -}}
{{- $kserve := has $v.router (list "kserve-standard" "kserve-knative") -}}
{{- if not $v.champion.version -}}
{{- fail "champion.version is empty: name the version that answers, such as --set champion.version=1" -}}
{{- end -}}
{{- $names := list -}}
{{- range $versions -}}
{{- if has .version $names -}}
{{- fail (printf "%s.version is %s, which is another role's too: a version has one role" .role .version) -}}
{{- end -}}
{{- $names = append $names .version -}}
{{- if not (or .uri $runtime.bundled) -}}
{{- fail (printf "%s.uri is empty: say where the files of version %s are, such as s3://models/%s or pvc://claim/%s" .role .version .version .version) -}}
{{- end -}}
{{- if and $runtime.digest (not .digest) -}}
{{- fail (printf "%s.digest is empty: the runtime kserve serves only what the registry vouches for; `trimtab status --json` tells the digest of version %s" .role .version) -}}
{{- end -}}
{{- end -}}
{{- if and (gt (int $v.trafficPercent) 0) (not $v.challenger.version) -}}
{{- fail (printf "trafficPercent is %d, but there is no challenger to answer: set challenger.version, or trafficPercent to 0" (int $v.trafficPercent)) -}}
{{- end -}}
{{- if and (not (default $runtime.image $v.image.repository)) -}}
{{- fail "image.repository is empty: the runtime seldon is an image of yours, made with Seldon's Python wrapper" -}}
{{- end -}}
{{- if and $v.protocol (not (has $v.protocol $runtime.protocols)) -}}
{{- fail (printf "protocol is %s, which the runtime %s does not speak: choose %s" $v.protocol $v.runtime (join " or " $runtime.protocols)) -}}
{{- end -}}
{{- if and (gt (int $v.gpu.count) 0) (eq $v.runtime "kserve") -}}
{{- fail (printf "gpu.count is %d, but the runtime kserve serves models that use no GPU: set it to 0, or choose triton, torchserve or tensorflow-serving" (int $v.gpu.count)) -}}
{{- end -}}
{{- if and $v.autoscaling.enabled (gt (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas)) -}}
{{- fail (printf "autoscaling.minReplicas is %d, more than autoscaling.maxReplicas, %d: raise the one or lower the other" (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas)) -}}
{{- end -}}
{{- if and $v.shadow.version $kserve -}}
{{- fail (printf "shadow.version is %v, but the router %s cannot send copies (kserve/kserve issue 2978): choose the router envoy or gateway-api, or leave the shadow out" $v.shadow.version $v.router) -}}
{{- end -}}
{{- if and $v.predictionLog.path (not $v.predictionLog.claim) -}}
{{- fail (printf "predictionLog.path is %s, a folder in a claim, but predictionLog.claim is empty: name the claim" $v.predictionLog.path) -}}
{{- end -}}
{{- if and $v.collector (not (include "model-release.ownPods" .)) -}}
{{- fail (printf "collector is %s, but the router %s routes no labels: send them to the collector itself and leave `collector` empty, or choose the router envoy or gateway-api" $v.collector $v.router) -}}
{{- end -}}
{{- if eq $v.router "seldon" -}}
{{- if ne $v.runtime "seldon" -}}
{{- fail (printf "router is seldon, which serves the runtime seldon only, not %s: choose another router" $v.runtime) -}}
{{- end -}}
{{- end -}}
{{- if eq $v.router "gateway-api" -}}
{{- if not $v.gateway.name -}}
{{- fail "gateway.name is empty: name the Gateway that the route hangs on, such as istio-system/public; `kubectl get gateways -A` lists them" -}}
{{- end -}}
{{- if and $v.shadow.version (eq $v.runtime "kserve") (not $v.gateway.marksCopies) -}}
{{- fail "shadow.version is set, but copies must be told from requests by the -shadow that Envoy appends to their host, and nobody said that this gateway appends it: set gateway.marksCopies (Istio needs DISABLE_SHADOW_HOST_SUFFIX=false in istiod), or choose the router envoy" -}}
{{- end -}}
{{- end -}}
{{- if and (eq $v.router "kserve-knative") $v.challenger.version .Release.IsInstall -}}
{{- fail (printf "challenger.version is %v at the first installation, but in Knative mode the champion is the revision before: install with the champion alone, then upgrade with the challenger (helm template: add --is-upgrade)" $v.challenger.version) -}}
{{- end -}}
{{- if and $v.storage.endpoint $kserve -}}
{{- fail "storage.endpoint is set, but KServe takes it from the secret's annotation serving.kserve.io/s3-endpoint: set that, and leave storage.endpoint empty" -}}
{{- end -}}
{{- end }}
