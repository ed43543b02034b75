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
{{- $place := dict "keys" $keys "forms" $rules.forms "found" $found "files" (include "mcp-forward-auth.files" . | fromYaml).list "root" . }}
{{- include "mcp-forward-auth.checkValue" (dict "value" $config "at" "" "pattern" "" "place" $place) }}
{{- range $i, $provider := $config.providers | default list }}
{{- include "mcp-forward-auth.checkProvider" (dict "provider" $provider "at" (printf "providers[%d]" $i) "needs" $rules.needs "kinds" $rules.kinds "found" $found) }}
{{- end }}
{{- with $config.provider }}
{{- include "mcp-forward-auth.checkProvider" (dict "provider" . "at" "provider" "needs" $rules.needs "kinds" $rules.kinds "found" $found) }}
{{- end }}
{{- range $rules.guards }}
{{- $guard := $config.guard | default dict }}
{{- if eq .kind ($guard.backend | default "") }}
{{- include "mcp-forward-auth.checkNeed" (dict "need" . "section" (get $guard .kind | default dict) "at" .path "found" $found) }}
{{- end }}
{{- end }}
{{- range $rules.dependencies }}
{{- include "mcp-forward-auth.checkDependency" (dict "rule" . "config" $config "entry" $config "at" "" "each" .each "found" $found) }}
{{- end }}
{{- range $rules.lifetimes }}
{{- include "mcp-forward-auth.checkLifetime" (dict "rule" . "config" $config "found" $found) }}
{{- end }}
{{- $taken := dict }}
{{- range list "http" "management" "grpc" }}
{{- $address := dig "listen" . (get (dict "http" ":8080" "management" ":9090") .) $config }}
{{- if and $address (hasKey $taken $address) }}
{{- $_ := set $found "list" (append $found.list (printf $rules.samePort . $address (get $taken $address) $address)) }}
{{- else if $address }}
{{- $_ := set $taken $address . }}
{{- end }}
{{- end }}
{{- range $i, $host := .Values.proxy.hosts }}
{{- $at := printf "proxy.hosts[%d]" $i }}
{{- $mistake := "" }}
{{- if not $host.host }}
{{- $_ := set $found "list" (append $found.list (printf "%s.host: is required: the public host name of the MCP server" $at)) }}
{{- end }}
{{- $path := include "mcp-forward-auth.hostPath" $host | trimSuffix "/" }}
{{- $problem := include "mcp-forward-auth.wrong" (dict "value" $path "forms" (without $rules.forms.path (first $rules.forms.path))) }}
{{- if and (not $host.path) $path $problem }}
{{- $_ := set $found "list" (append $found.list (printf $rules.endpointPath $at $path (trimPrefix (printf "%q " $path) $problem))) }}
{{- end }}
{{- range $j, $other := $.Values.proxy.hosts }}
{{- if and (lt $j $i) $host.host (eq $host.host $other.host) (eq (include "mcp-forward-auth.hostPath" $host) (include "mcp-forward-auth.hostPath" $other)) (not $mistake) }}
{{- $mistake = printf "%s.host: %q with path %q is proxy.hosts[%d] already; give one of them another path" $at $host.host (include "mcp-forward-auth.hostPath" $host) $j }}
{{- $_ := set $found "list" (append $found.list $mistake) }}
{{- end }}
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
{{- $rule := get $place.keys .pattern | default dict }}
{{- if and $rule.most (gt (len .value) (int $rule.most)) }}
{{- $_ := set $place.found "list" (append $place.found.list (printf "%s: has %d entries; at most %d are allowed" $at (len .value) (int $rule.most))) }}
{{- else }}
{{- if and $rule.empty (not .value) }}
{{- $_ := set $place.found "list" (append $place.found.list (printf "%s: %s" $at $rule.empty)) }}
{{- end }}
{{- $seen := dict }}
{{- range $i, $value := .value }}
{{- include "mcp-forward-auth.checkValue" (dict "value" $value "at" (printf "%s[%d]" $at $i) "pattern" (printf "%s[]" $pattern) "entry" true "place" $place) }}
{{- if and $rule.unique (kindIs "string" $value) }}
{{- if hasKey $seen $value }}
{{- $_ := set $place.found "list" (append $place.found.list (printf "%s[%d]: %s is listed twice" $at $i (include "mcp-forward-auth.show" $value))) }}
{{- end }}
{{- $_ := set $seen $value true }}
{{- end }}
{{- end }}
{{- end }}
{{- else if and (kindIs "float64" .value) (hasKey $place.keys .pattern) }}
{{- $rule := get $place.keys .pattern }}
{{- if and $rule.number (or (lt .value ($rule.min | float64)) (gt .value ($rule.max | float64))) }}
{{- $shown := ternary (printf "%.0f" .value) (printf "%v" .value) (eq (floor .value) .value) }}
{{- $_ := set $place.found "list" (append $place.found.list (printf "%s: %s is not between %s and %s" .at $shown $rule.min $rule.max)) }}
{{- end }}
{{- else if and (kindIs "string" .value) (include "mcp-forward-auth.wrong" (dict "value" .value "forms" $place.forms.variable)) }}
{{- $_ := set $place.found "list" (append $place.found.list (printf "%s: %s" .at (include "mcp-forward-auth.wrong" (dict "value" .value "forms" $place.forms.variable)))) }}
{{- else if and (kindIs "string" .value) (or .value .entry) (hasKey $place.keys .pattern) }}
{{- $rule := get $place.keys .pattern }}
{{- $mistake := "" }}
{{- if $rule.forms }}
{{- $forms := list }}
{{- range $rule.forms }}
{{- $forms = concat $forms (get $place.forms .) }}
{{- end }}
{{- $mistake = include "mcp-forward-auth.wrong" (dict "value" .value "forms" $forms) }}
{{- end }}
{{- if $mistake }}
{{- else if and $rule.refers (include "mcp-forward-auth.refersToNone" (dict "value" .value "refers" $rule.refers "root" $place.root)) }}
{{- $mistake = printf $rule.refers.says (include "mcp-forward-auth.show" .value) }}
{{- else if and $rule.enum .value (not (has .value $rule.enum)) }}
{{- $quoted := list }}
{{- range $rule.enum }}
{{- $quoted = append $quoted (quote .) }}
{{- end }}
{{- $mistake = printf "%s is not one of %s" (include "mcp-forward-auth.show" .value) (join ", " $quoted) }}
{{- else if and $rule.duration .value }}
{{- if not (regexMatch "^[-+]?(0|(([0-9]+\\.?[0-9]*|\\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$" .value) }}
{{- $mistake = printf "%s is not a duration such as \"30m\" or \"1h\"" (include "mcp-forward-auth.show" .value) }}
{{- else if and $rule.max (or (lt (include "mcp-forward-auth.duration" .value | float64) (include "mcp-forward-auth.duration" $rule.min | float64)) (gt (include "mcp-forward-auth.duration" .value | float64) (include "mcp-forward-auth.duration" $rule.max | float64))) }}
{{- $mistake = printf "%s is not between %s and %s" (include "mcp-forward-auth.show" .value) $rule.min $rule.max }}
{{- end }}
{{- else if and $rule.file .value (not (include "mcp-forward-auth.isMounted" (dict "file" .value "files" $place.files "root" $place.root))) }}
{{- $mistake = printf "there is no such file; mount the Secret that holds %q with existingSecrets.files, and name it secrets/NAME/KEY" .value }}
{{- end }}
{{- if $mistake }}
{{- $_ := set $place.found "list" (append $place.found.list (printf "%s: %s" .at $mistake)) }}
{{- end }}
{{- end }}
{{- end }}

{{/* "true" if a text is the name of an entry, and there is no such entry. Hosts may be in files too, of which nothing is known here. Arguments: value, refers, root. */}}
{{- define "mcp-forward-auth.refersToNone" -}}
{{- $known := list }}
{{- $decided := regexMatch .refers.name .value }}
{{- if eq .refers.of "hosts" }}
{{- range .root.Values.proxy.hosts }}
{{- $known = append $known (regexReplaceAll ":[0-9]+$" (toString .host) "") }}
{{- end }}
{{- $decided = and $decided (not (include "mcp-forward-auth.hasHostsFiles" .root)) }}
{{- else }}
{{- $known = append $known "browser" }}{{/* the client that is web pages */}}
{{- range .root.Values.clients }}
{{- $known = append $known (toString .id) }}
{{- end }}
{{- end }}
{{- if and $decided (not (has (regexReplaceAll .refers.name .value "${1}") $known)) }}true{{ end }}
{{- end }}

{{/* Keys that a provider of its kind needs. Arguments: provider, at, needs; found gets the mistakes. */}}
{{- define "mcp-forward-auth.checkProvider" -}}
{{- range .needs }}
{{- if eq .kind ($.provider.name | default "") }}
{{- include "mcp-forward-auth.checkNeed" (dict "need" . "section" $.provider "at" (printf "%s.%s" $.at .path) "text" (.text | replace "provider." (printf "%s." $.at)) "found" $.found) }}
{{- end }}
{{- end }}
{{- with get .kinds (.provider.name | default "") }}
{{- $known := . }}
{{- range $key, $value := $.provider }}
{{- if and $value (not (has $key $known)) }}
{{- $_ := set $.found "list" (append $.found.list (printf "%s.%s: has no meaning for provider %q; remove it" $.at $key $.provider.name)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* A key that a section needs. Arguments: need, section, at, text (of need, if not given); found gets the mistake. */}}
{{- define "mcp-forward-auth.checkNeed" -}}
{{- $set := false }}
{{- range .need.unless }}
{{- if get $.section . }}
{{- $set = true }}
{{- end }}
{{- end }}
{{- if not $set }}
{{- $_ := set .found "list" (append .found.list (printf "%s: %s" .at (.text | default .need.text))) }}
{{- end }}
{{- end }}

{{/* A key that needs another one, or excludes it. Arguments: rule, config, entry with its path at, each (the lists down to the entries, if entry is above them); found gets the mistakes. */}}
{{- define "mcp-forward-auth.checkDependency" -}}
{{- if .each }}
{{- $list := splitList "[]." .each | first }}
{{- $rest := trimPrefix $list .each | trimPrefix "[]." }}
{{- $section := .entry }}
{{- range splitList "." $list }}
{{- $section = get ($section | default dict) . }}
{{- end }}
{{- range $i, $entry := $section | default list }}
{{- include "mcp-forward-auth.checkDependency" (dict "rule" $.rule "config" $.config "entry" $entry "at" (printf "%s.%s[%d]" $.at $list $i | trimPrefix ".") "each" $rest "found" $.found) }}
{{- end }}
{{- else }}
{{- $applies := true }}
{{- range concat (compact (list .rule.when)) (.rule.with | default list) }}
{{- $applies = and $applies (include "mcp-forward-auth.has" (dict "tree" $.entry "key" .)) }}
{{- end }}
{{- range .rule.unless }}
{{- $tree := ternary $.config $.entry (hasPrefix "/" .) }}
{{- $applies = and $applies (not (include "mcp-forward-auth.has" (dict "tree" $tree "key" (trimPrefix "/" .)))) }}
{{- end }}
{{- if $applies }}
{{- $path := printf "%s.%s" .at (.rule.at | default "") | trimPrefix "." | trimSuffix "." }}
{{- $_ := set .found "list" (append .found.list (printf "%s: %s" $path (.rule.says | replace "@" .at))) }}
{{- end }}
{{- end }}
{{- end }}

{{/* A lifetime that is less than another one, where both are lifetimes at all. Arguments: rule, config; found gets the mistake. */}}
{{- define "mcp-forward-auth.checkLifetime" -}}
{{- $values := list }}
{{- range list .rule.at .rule.least }}
{{- $path := splitList "." . }}
{{- $section := get $.config (first $path) | default dict }}
{{- $values = append $values (toString (get $section (last $path) | default "")) }}
{{- range $.found.list }}
{{- if hasPrefix (printf "%s: " (join "." $path)) . }}
{{- $values = append $values "" }}
{{- end }}
{{- end }}
{{- end }}
{{- $least := last $values | default (.rule.default | default "") }}
{{- if and (eq (len $values) 2) (first $values) $least (lt (include "mcp-forward-auth.duration" (first $values) | float64) (include "mcp-forward-auth.duration" $least | float64)) }}
{{- $says := printf .rule.says (include "mcp-forward-auth.showDuration" (first $values)) (include "mcp-forward-auth.showDuration" $least) }}
{{- $_ := set .found "list" (append .found.list (printf "%s: %s" .rule.at $says)) }}
{{- end }}
{{- end }}

{{/* "true" if a tree has something at a key such as "a.b" or "a.b=value", in any entry of lists on the way. Arguments: tree, key. */}}
{{- define "mcp-forward-auth.has" -}}
{{- $tree := .tree }}
{{- $key := .key }}
{{- if kindIs "slice" $tree }}
{{- if $key }}
{{- range $tree }}{{ include "mcp-forward-auth.has" (dict "tree" . "key" $key) }}{{ end }}
{{- else if $tree }}true{{ end }}
{{- else if and (not $key) (kindIs "map" $tree) }}
{{- range $tree }}{{ include "mcp-forward-auth.has" (dict "tree" . "key" "") }}{{ end }}
{{- else if not $key }}
{{- if $tree }}true{{ end }}
{{- else if kindIs "map" $tree }}
{{- $first := splitList "." $key | first }}
{{- $rest := trimPrefix $first $key | trimPrefix "." }}
{{- $name := splitList "=" $first | first }}
{{- if hasKey $tree $name }}
{{- if contains "=" $first }}
{{- if eq (toString (get $tree $name)) (splitList "=" $first | last) }}true{{ end }}
{{- else }}
{{- include "mcp-forward-auth.has" (dict "tree" (get $tree $name) "key" $rest) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* What is wrong with a text, or nothing. Arguments: value, forms. The first form that it has counts. */}}
{{- define "mcp-forward-auth.wrong" -}}
{{- $said := "" }}
{{- range .forms }}
{{- $is := false }}
{{- if .right }}
{{- $is = not (regexMatch .right $.value) }}
{{- else if regexMatch .wrong $.value }}
{{- $is = not (and .except (regexMatch .except $.value)) }}
{{- end }}
{{- if and $is (not $said) }}
{{- $shown := $.value }}
{{- with .cut }}
{{- $shown = regexReplaceAll . $shown "" }}
{{- end }}
{{- $quoted := include "mcp-forward-auth.show" $shown }}
{{- if .url }}
{{- $quoted = include "mcp-forward-auth.showURL" $shown }}
{{- end }}
{{- $said = .says | replace "%%" "%" }}
{{- if contains "%[" .says }}
{{- $said = printf .says $quoted (lower $shown) (printf ".*%s" (regexQuoteMeta (trimPrefix "*" $shown))) (regexQuoteMeta $shown) }}
{{- end }}
{{- end }}
{{- end }}
{{- $said }}
{{- end }}

{{/* A text as messages show it: in quotes, and not longer than a line should be. */}}
{{- define "mcp-forward-auth.show" -}}
{{- if gt (len .) 100 }}{{ printf "%q…" (trunc 100 .) }}{{ else }}{{ printf "%q" . }}{{ end }}
{{- end }}

{{/* A URL as messages show it, without what may hold a password. */}}
{{- define "mcp-forward-auth.showURL" -}}
{{- if contains "@" . }}the URL{{ else }}{{ include "mcp-forward-auth.show" (regexReplaceAll "([?#]).*" . "${1}…") }}{{ end }}
{{- end }}

{{/* The path of a host, which is that of its endpoint unless it says another. */}}
{{- define "mcp-forward-auth.hostPath" -}}
{{- .path | default (urlParse (.endpoint | default "")).path }}
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
{{- $units := dict "ns" 0.000001 "us" 0.001 "µs" 0.001 "μs" 0.001 "ms" 1.0 "s" 1000.0 "m" 60000.0 "h" 3600000.0 }}
{{- $total := 0.0 }}
{{- range regexFindAll "[0-9.]+(ns|us|µs|μs|ms|s|m|h)" . -1 }}
{{- $unit := regexFind "[a-zµ]+$" . }}
{{- $total = addf $total (mulf (trimSuffix $unit . | float64) (get $units $unit)) }}
{{- end }}
{{- ternary (mulf $total -1.0) $total (hasPrefix "-" .) }}
{{- end }}

{{/* A Go duration as messages show it: 90m is 1h30m. */}}
{{- define "mcp-forward-auth.showDuration" -}}
{{- $ms := include "mcp-forward-auth.duration" . | float64 | int64 }}
{{- $h := div $ms 3600000 }}
{{- $m := div (mod $ms 3600000) 60000 }}
{{- $s := divf (mod $ms 60000) 1000.0 }}
{{- if $h }}{{ $h }}h{{ end }}{{ if or $m (and $h $s) }}{{ $m }}m{{ end }}{{ if or $s (not (or $h $m)) }}{{ $s }}s{{ end }}
{{- end }}
