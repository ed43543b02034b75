{{/*
What the program would refuse at its start, as lines "PATH: what is wrong" in the words of
`check-config`. The rules are made from the program: files/configuration.json.
*/}}
{{- define "mcp-forward-auth.mistakes" -}}
{{- $rules := .Files.Get "files/configuration.json" | fromJson }}
{{- $keys := dict }}
{{- range $rules.keys }}
{{- $_ := set $keys .path . }}
{{- end }}
{{- $found := dict "list" list }}
{{- $config := include "mcp-forward-auth.config" . | fromYaml }}
{{- $place := dict "keys" $keys "found" $found "files" (include "mcp-forward-auth.files" . | fromYaml).list "root" . }}
{{- include "mcp-forward-auth.checkValue" (dict "value" $config "at" "" "pattern" "" "place" $place) }}
{{- range $i, $provider := $config.providers | default list }}
{{- include "mcp-forward-auth.checkProvider" (dict "provider" $provider "at" (printf "providers[%d]" $i) "needs" $rules.needs "found" $found) }}
{{- end }}
{{- with $config.provider }}
{{- include "mcp-forward-auth.checkProvider" (dict "provider" . "at" "provider" "needs" $rules.needs "found" $found) }}
{{- end }}
{{- range $i, $host := .Values.proxy.hosts }}
{{- $at := printf "proxy.hosts[%d]" $i }}
{{- $mistake := "" }}
{{- if contains "@" $host.host }}
{{- else if contains "://" $host.host }}
{{- $mistake = printf "%s.host: %q is a URL; write the host alone, such as \"mcp.example.com\"" $at $host.host }}
{{- else if contains "/" $host.host }}
{{- $mistake = printf "%s.host: %q has more than a host; the path goes into the key path" $at $host.host }}
{{- else if contains "*" $host.host }}
{{- $mistake = printf "%s.host: %q has a wildcard; list every host, because each is an issuer of its own" $at $host.host }}
{{- end }}
{{- if $mistake }}
{{- $_ := set $found "list" (append $found.list $mistake) }}
{{- end }}
{{- if and $host.endpoint (not (regexMatch "^https?://." $host.endpoint)) (not (contains "@" $host.endpoint)) }}
{{- $_ := set $found "list" (append $found.list (printf "%s.endpoint: %q is not an http or https URL" $at $host.endpoint)) }}
{{- end }}
{{- end }}
{{- toYaml $found }}
{{- end }}

{{/* Arguments: value, at (its path), pattern (its path in the rules), and a place: keys, files, root, and found, which gets the mistakes. */}}
{{- define "mcp-forward-auth.checkValue" -}}
{{- $place := .place }}
{{- if kindIs "map" .value }}
{{- $at := .at }}
{{- $pattern := .pattern }}
{{- range $key, $value := .value }}
{{- include "mcp-forward-auth.checkValue" (dict "value" $value "at" (printf "%s.%s" $at $key | trimPrefix ".") "pattern" (printf "%s.%s" $pattern $key | trimPrefix ".") "place" $place) }}
{{- end }}
{{- else if kindIs "slice" .value }}
{{- $at := .at }}
{{- $pattern := .pattern }}
{{- range $i, $value := .value }}
{{- include "mcp-forward-auth.checkValue" (dict "value" $value "at" (printf "%s[%d]" $at $i) "pattern" (printf "%s[]" $pattern) "place" $place) }}
{{- end }}
{{- else if and (kindIs "string" .value) .value (hasKey $place.keys .pattern) }}
{{- $rule := get $place.keys .pattern }}
{{- $mistake := "" }}
{{- if and $rule.enum (not (has .value $rule.enum)) }}
{{- $quoted := list }}
{{- range $rule.enum }}
{{- $quoted = append $quoted (quote .) }}
{{- end }}
{{- $mistake = printf "%q is not one of %s" .value (join ", " $quoted) }}
{{- else if $rule.max }}
{{- if not (regexMatch "^([0-9]+(\\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$" .value) }}
{{- $mistake = printf "%q is not a duration such as \"30m\" or \"1h\"" .value }}
{{- else if or (lt (include "mcp-forward-auth.duration" .value | float64) (include "mcp-forward-auth.duration" $rule.min | float64)) (gt (include "mcp-forward-auth.duration" .value | float64) (include "mcp-forward-auth.duration" $rule.max | float64)) }}
{{- $mistake = printf "%q is not between %s and %s" .value $rule.min $rule.max }}
{{- end }}
{{- else if and $rule.file (not (include "mcp-forward-auth.isMounted" (dict "file" .value "files" $place.files "root" $place.root))) }}
{{- $mistake = printf "there is no such file; mount the Secret that holds %q with existingSecrets.files, and name it secrets/NAME/KEY" .value }}
{{- end }}
{{- if $mistake }}
{{- $_ := set $place.found "list" (append $place.found.list (printf "%s: %s" .at $mistake)) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Keys that a provider of its kind needs. Arguments: provider, at, needs; found gets the mistakes. */}}
{{- define "mcp-forward-auth.checkProvider" -}}
{{- range .needs }}
{{- if eq .kind ($.provider.name | default "") }}
{{- $set := false }}
{{- range .unless }}
{{- if get $.provider . }}
{{- $set = true }}
{{- end }}
{{- end }}
{{- if not $set }}
{{- $_ := set $.found "list" (append $.found.list (printf "%s.%s: %s" $.at .path (.text | replace "provider." (printf "%s." $.at)))) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The files that the chart mounts beside the configuration. */}}
{{- define "mcp-forward-auth.files" -}}
{{- $files := list }}
{{- range include "mcp-forward-auth.configSources" . | fromYamlArray }}
{{- range dig "secret" "items" list . }}
{{- $files = append $files .path }}
{{- end }}
{{- end }}
{{- toYaml (dict "list" $files) }}
{{- end }}

{{/* "true" if the program can have a file of this name. Arguments: file, files, root. */}}
{{- define "mcp-forward-auth.isMounted" -}}
{{- $name := clean .file }}
{{- $own := "/etc/mcp-forward-auth/" }}
{{- $mounted := or (has (trimPrefix $own $name) .files) (hasPrefix "/etc/ssl/" $name) (hasPrefix "/var/run/secrets/" $name) (hasPrefix "/run/secrets/" $name) }}
{{- range .root.Values.volumeMounts }}
{{- $absolute := ternary $name (printf "%s%s" $own $name) (hasPrefix "/" $name) }}
{{- $mounted = or $mounted (eq $absolute .mountPath) (hasPrefix (printf "%s/" (trimSuffix "/" .mountPath)) $absolute) }}
{{- end }}
{{- if $mounted }}true{{ end }}
{{- end }}

{{/* A Go duration in milliseconds. */}}
{{- define "mcp-forward-auth.duration" -}}
{{- $units := dict "ns" 0.000001 "us" 0.001 "µs" 0.001 "ms" 1.0 "s" 1000.0 "m" 60000.0 "h" 3600000.0 }}
{{- $total := 0.0 }}
{{- range regexFindAll "[0-9.]+(ns|us|µs|ms|s|m|h)" . -1 }}
{{- $unit := regexFind "[a-zµ]+$" . }}
{{- $total = addf $total (mulf (trimSuffix $unit . | float64) (get $units $unit)) }}
{{- end }}
{{- $total }}
{{- end }}
