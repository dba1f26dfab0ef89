{{- /*
Envoy's configuration: files/envoy.json is made by helm/envoy.py out of the code that configures Envoy on one machine.
Here it is only chosen which rules hold, and names, addresses and numbers are filled in.
*/ -}}
{{- define "model-release.envoy.fill" -}}
{{- $text := .text -}}
{{- $root := .root -}}
{{- $v := $root.Values -}}
{{- $runtime := include "model-release.runtime" $root | fromJson -}}
{{- $seconds := int64 $v.limits.timeoutSeconds -}}
{{- $numbers := dict "SECONDS" $seconds "BOTH_SECONDS" (add 1 (mul 2 $seconds)) -}}
{{- range $name, $value := $numbers -}}
{{- $text = $text | replace (printf "@%s@" $name) (toString $value) -}}
{{- end -}}
{{- $percent := int64 $v.trafficPercent -}}
{{- $bytes := int64 $v.limits.maxBodyBytes -}}
{{- $quoted := dict "PERCENT" $percent "REST" (sub 100 $percent) "MIRROR" (int64 $v.shadowPercent) "BYTES" $bytes "BUFFER" (add 65536 $bytes) -}}
{{- with $v.collector -}}
{{- $_ := set $quoted "COLLECTOR_PORT" (splitList ":" . | last) -}}
{{- $text = $text | replace "@COLLECTOR_HOST@" (splitList ":" . | first) -}}
{{- end -}}
{{- range $name, $value := $quoted -}}
{{- $text = $text | replace (printf "\"@%s@\"" $name) (toString $value) -}}
{{- end -}}
{{- range $name := list "predict" "about" -}}
{{- $text = $text | replace (printf "\"@%s@\"" (upper $name)) (toRawJson (index $runtime $name)) -}}
{{- end -}}
{{- $text = $text | replace "\"@HEALTH@\"" (toRawJson $runtime.ready) -}}
{{- range include "model-release.versions" $root | fromJsonArray -}}
{{- $host := printf "%s-pods.%s.svc" (include "model-release.versioned" (merge (dict "root" $root) .)) $root.Release.Namespace -}}
{{- $text = $text | replace (printf "@%s_HOST@" (upper .role)) $host -}}
{{- $text = $text | replace (printf "@%s@" (upper .role)) .version -}}
{{- end -}}
{{- $text -}}
{{- end }}

{{- /* How versions take part: champion alone, challenger dark, split, or challenger for all. */ -}}
{{- define "model-release.envoy.way" -}}
{{- $percent := int .Values.trafficPercent -}}
{{- if not .Values.challenger.version }}champion
{{- else if eq $percent 0 }}dark
{{- else if eq $percent 100 }}all
{{- else }}split
{{- end -}}
{{- end }}

{{- define "model-release.envoy.protocols" -}}
{{- $runtime := include "model-release.runtime" . | fromJson -}}
{{- if and .Values.envoy.grpc $runtime.grpc }}rest grpc{{ else }}rest{{ end -}}
{{- end }}

{{- define "model-release.envoy.discovery" -}}
{"version_info":"{{ . | sha256sum | trunc 12 }}","resources":{{ . }}}
{{- end }}

{{- define "model-release.envoy.routes" -}}
{{- $pieces := .Files.Get "files/envoy.json" | fromJson -}}
{{- $way := include "model-release.envoy.way" . -}}
{{- $rules := list (index $pieces.labels (ternary "on" "off" (not (empty .Values.collector)))) -}}
{{- range splitList " " (include "model-release.envoy.protocols" .) -}}
{{- $rules = concat $rules (index $pieces.rules . $way) -}}
{{- end -}}
{{- $rules = append $rules $pieces.unknown -}}
{{- $text := toRawJson $rules -}}
{{- $copies := and .Values.shadow.version (gt (int .Values.shadowPercent) 0) -}}
{{- range $protocol, $policies := $pieces.mirrors -}}
{{- $text = $text | replace (printf "\"@MIRRORS_%s@\"" (upper $protocol)) (ternary (toRawJson $policies) "[]" (not (empty $copies))) -}}
{{- end -}}
{{- $host := dict "name" "trimtab" "domains" (list "*") "include_request_attempt_count" true "routes" "@RULES@" -}}
{{- $table := dict "@type" "type.googleapis.com/envoy.config.route.v3.RouteConfiguration" "name" "routes" "virtual_hosts" (list $host) -}}
{{- $all := list $table | toRawJson | replace "\"@RULES@\"" $text -}}
{{- include "model-release.envoy.discovery" (include "model-release.envoy.fill" (dict "text" $all "root" .)) -}}
{{- end }}

{{- /* Roles and mirrors are always there, whoever takes part; see helm/envoy.py for why. */ -}}
{{- define "model-release.envoy.clusters" -}}
{{- $pieces := .Files.Get "files/envoy.json" | fromJson -}}
{{- $protocols := splitList " " (include "model-release.envoy.protocols" .) -}}
{{- $found := list -}}
{{- range $pieces.clusters -}}
{{- $protocol := splitList "-" .name | last -}}
{{- $wanted := has $protocol $protocols -}}
{{- if eq .name "feedback" -}}
{{- $wanted = not (empty $.Values.collector) -}}
{{- else if hasSuffix "@" .name -}}
{{- $present := or $.Values.challenger.version (not (hasSuffix "@CHALLENGER@" .name)) -}}
{{- $wanted = and $present (has (splitList "-" .name | first) $protocols) -}}
{{- else if and (hasPrefix "mirror-" .name) (not $.Values.shadow.version) -}}
{{- /* Without an endpoint: a copy to it is no copy. */ -}}
{{- $_ := set .load_assignment "endpoints" list -}}
{{- $_ := set . "type" "STATIC" -}}
{{- else if and (hasKey . "cluster_type") (not $.Values.challenger.version) -}}
{{- $members := .cluster_type.typed_config -}}
{{- $_ := set $members "clusters" (without $members.clusters (printf "%s-v@CHALLENGER@" $protocol)) -}}
{{- end -}}
{{- if $wanted -}}
{{- $found = append $found . -}}
{{- end -}}
{{- end -}}
{{- include "model-release.envoy.discovery" (include "model-release.envoy.fill" (dict "text" (toRawJson $found) "root" .)) -}}
{{- end }}

{{- define "model-release.envoy.bootstrap" -}}
{{- $pieces := .Files.Get "files/envoy.json" | fromJson -}}
{{- include "model-release.envoy.fill" (dict "text" (toRawJson $pieces.bootstrap) "root" .) -}}
{{- end }}
