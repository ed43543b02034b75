{{- define "mcp-forward-auth.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* 50 characters leave room for what names of objects end in. */}}
{{- define "mcp-forward-auth.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "mcp-forward-auth.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{- define "mcp-forward-auth.selectorLabels" -}}
app.kubernetes.io/name: {{ include "mcp-forward-auth.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "mcp-forward-auth.labels" -}}
{{- $own := dict
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/version" (default .Chart.AppVersion .Values.image.tag | replace "+" "_" | trunc 63 | trimSuffix "-" | trimSuffix "." | trimSuffix "_")
  "app.kubernetes.io/managed-by" .Release.Service
  "app.kubernetes.io/part-of" "mcp-forward-auth" }}
{{- toYaml (merge (include "mcp-forward-auth.selectorLabels" . | fromYaml) $own .Values.commonLabels) }}
{{- end }}

{{/*
The metadata of an object. Arguments: root, and optionally name (suffix),
namespace, labels, annotations.
*/}}
{{- define "mcp-forward-auth.metadata" -}}
{{- $root := .root -}}
name: {{ include "mcp-forward-auth.fullname" $root }}{{ with .name }}-{{ . }}{{ end }}
namespace: {{ .namespace | default (include "mcp-forward-auth.namespace" $root) }}
labels:
  {{- toYaml (merge (include "mcp-forward-auth.labels" $root | fromYaml) (.labels | default dict)) | nindent 2 }}
{{- with merge (dict) (.annotations | default dict) $root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "mcp-forward-auth.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "mcp-forward-auth.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* The image of the service. */}}
{{- define "mcp-forward-auth.image" -}}
{{- include "mcp-forward-auth.imageName" (dict "root" . "image" .Values.image) }}
{{- end }}

{{/* The name of an image. global.imageRegistry takes the place of the registry in it: the part before the first slash, if it is a host. Arguments: root, image. */}}
{{- define "mcp-forward-auth.imageName" -}}
{{- $name := .image.repository }}
{{- with .root.Values.global.imageRegistry }}
{{- $name = printf "%s/%s" (trimSuffix "/" .) (regexReplaceAll "^(localhost|[^/]*[.:][^/]*)/" $name "") }}
{{- end }}
{{- if .image.digest -}}
{{ $name }}@{{ .image.digest }}
{{- else -}}
{{ $name }}:{{ default .root.Chart.AppVersion .image.tag }}
{{- end }}
{{- end }}

{{/* Pull secrets of the chart and of global, each once. Those of global may be names alone. */}}
{{- define "mcp-forward-auth.imagePullSecrets" -}}
{{- $names := list }}
{{- range concat (.Values.imagePullSecrets | default list) (.Values.global.imagePullSecrets | default list) }}
{{- $names = append $names (kindIs "string" . | ternary . (get (kindIs "map" . | ternary . dict) "name")) }}
{{- end }}
{{- range compact $names | uniq }}
- name: {{ . }}
{{- end }}
{{- end }}

{{/*
The security context of pods. OpenShift gives each namespace its own range of
user and group ids, and refuses pods that ask for others.
*/}}
{{- define "mcp-forward-auth.podSecurityContext" -}}
{{- $context := .Values.podSecurityContext | default dict }}
{{- if .Capabilities.APIVersions.Has "security.openshift.io/v1" }}
{{- $context = omit $context "runAsUser" "runAsGroup" "fsGroup" }}
{{- end }}
{{- with $context }}
{{- toYaml . }}
{{- end }}
{{- end }}
{{- define "mcp-forward-auth.securityContext" -}}
{{- $context := .Values.securityContext | default dict }}
{{- if .Capabilities.APIVersions.Has "security.openshift.io/v1" }}
{{- $context = omit $context "runAsUser" "runAsGroup" }}
{{- end }}
{{- with $context }}
{{- toYaml . }}
{{- end }}
{{- end }}

{{/* "true" if no entry of list has this value at this key: lists may not name one thing twice. Arguments: list, key, value. */}}
{{- define "mcp-forward-auth.lacks" -}}
{{- $found := false }}
{{- range .list }}
{{- $found = or $found (eq (toString (get . $.key)) $.value) }}
{{- end }}
{{- if not $found }}true{{ end }}
{{- end }}

{{/* The environment: env as given, and GOMEMLIMIT unless env has it. */}}
{{- define "mcp-forward-auth.env" -}}
{{- $limit := include "mcp-forward-auth.memoryLimit" (dig "limits" "memory" "" (.Values.resources | default dict)) }}
{{- if and $limit (include "mcp-forward-auth.lacks" (dict "list" .Values.env "key" "name" "value" "GOMEMLIMIT")) }}
- name: GOMEMLIMIT
  value: {{ $limit | quote }}
{{- end }}
{{- if and (include "mcp-forward-auth.caBundle" .) (include "mcp-forward-auth.lacks" (dict "list" .Values.env "key" "name" "value" "SSL_CERT_DIR")) }}
- name: SSL_CERT_DIR
  value: /etc/mcp-forward-auth-ca
{{- end }}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* "true" if there are authorities to trust besides those of the image. */}}
{{- define "mcp-forward-auth.caBundle" -}}
{{- if or .Values.caBundle.configMap .Values.caBundle.secret }}true{{ end }}
{{- end }}

{{/* Their volume, and where it is mounted. */}}
{{- define "mcp-forward-auth.caVolume" -}}
{{- if include "mcp-forward-auth.caBundle" . }}
- name: ca-bundle
  projected:
    sources:
      {{- with .Values.caBundle.configMap }}
      - configMap:
          name: {{ . }}
          items: [{key: {{ $.Values.caBundle.key }}, path: configmap.crt}]
      {{- end }}
      {{- with .Values.caBundle.secret }}
      - secret:
          name: {{ . }}
          items: [{key: {{ $.Values.caBundle.key }}, path: secret.crt}]
      {{- end }}
{{- end }}
{{- end }}
{{- define "mcp-forward-auth.caMount" -}}
{{- if include "mcp-forward-auth.caBundle" . }}
- name: ca-bundle
  mountPath: /etc/mcp-forward-auth-ca
  readOnly: true
{{- end }}
{{- end }}

{{/* The gateway of each parentRef: its namespace, without repeats. */}}
{{- define "mcp-forward-auth.parentNamespaces" -}}
{{- $out := list }}
{{- range concat (.Values.httpRoute.parentRefs | default list) (.Values.protection.httpRoute.parentRefs | default list) }}
{{- with .namespace }}
{{- $out = append $out . }}
{{- end }}
{{- end }}
{{- toYaml (dict "list" (uniq $out)) }}
{{- end }}

{{/* More than one pod may serve at the same time. */}}
{{- define "mcp-forward-auth.several" -}}
{{- if or .Values.autoscaling.enabled (gt (int .Values.replicaCount) 1) }}true{{ end }}
{{- end }}

{{/* Where the program looks for keys: keys.source, or what the number of replicas needs. */}}
{{- define "mcp-forward-auth.keySource" -}}
{{- if .Values.keys.source }}
{{- .Values.keys.source }}
{{- else if or (include "mcp-forward-auth.several" .) .Values.keys.seedFiles .Values.existingSecrets.seed.name }}
{{- "seed" }}
{{- else }}
{{- "ephemeral" }}
{{- end }}
{{- end }}

{{/* The chart makes the seed if nobody brings one. */}}
{{- define "mcp-forward-auth.makesSeed" -}}
{{- if and (not .Values.existingSecrets.config.name) (eq (include "mcp-forward-auth.keySource" .) "seed") (not .Values.keys.seedFiles) (not .Values.existingSecrets.seed.name) }}true{{ end }}
{{- end }}

{{/*
Keys of values that belong to the chart. Every other key is a section of the
configuration file: values.schema.json knows them from the program's source.
*/}}
{{- define "mcp-forward-auth.chartKeys" -}}
enabled existingSecrets replicaCount autoscaling podDisruptionBudget image imagePullSecrets nameOverride
fullnameOverride namespaceOverride commonLabels commonAnnotations clusterDomain serviceAccount podAnnotations
podLabels podSecurityContext securityContext service resources startupProbe livenessProbe readinessProbe
lifecycle terminationGracePeriodSeconds strategy revisionHistoryLimit env envFrom extraArgs volumes volumeMounts initContainers
extraContainers nodeSelector tolerations affinity topologySpreadConstraints priorityClassName runtimeClassName
hostUsers dnsConfig hostAliases ingress httpRoute protection networkPolicy podMonitor serviceMonitor
prometheusRule dashboard extraObjects tests global caBundle deploymentAnnotations hostsFiles doctor check
{{ range $name, $_ := (include "mcp-forward-auth.otherNames" . | fromYaml) }} {{ $name }}{{ end }}
{{- end }}

{{/* "true" where no MCP server takes tokens of this service, so that people never sign in here. */}}
{{- define "mcp-forward-auth.needsNoProvider" -}}
{{- $own := ne (include "mcp-forward-auth.hasHostsFiles" .) "" }}
{{- range .Values.proxy.hosts }}
{{- $own = or $own (dig "ownTokens" true .) }}
{{- end }}
{{- if not $own }}true{{ end }}
{{- end }}

{{/* Names that other charts have for what this one calls otherwise, with a dot those inside of a section. values.schema.json lets them through, so that they are refused with the right one. */}}
{{- define "mcp-forward-auth.otherNames" -}}
extraEnv: env
extraEnvVars: env
extraEnvFrom: envFrom
extraVolumes: volumes
extraVolumeMounts: volumeMounts
extraInitContainers: initContainers
sidecars: extraContainers
containers: extraContainers
args: extraArgs
extraDeploy: extraObjects
extraManifests: extraObjects
replicas: replicaCount
hpa: autoscaling
pdb: podDisruptionBudget
containerSecurityContext: securityContext
annotations: commonAnnotations
labels: commonLabels
updateStrategy: strategy
deploymentStrategy: strategy
tolerance: tolerations
gateway: httpRoute
gatewayAPI: httpRoute
route: httpRoute
metrics: podMonitor or serviceMonitor
existingSecret: existingSecrets.clientSecret.name
extraConfig: the sections of the configuration themselves, such as proxy and tokens
config: the sections of the configuration themselves, such as proxy and tokens
configuration: the sections of the configuration themselves, such as proxy and tokens
podAnnotation: podAnnotations
podLabel: podLabels
nodeSelectors: nodeSelector
imagePullSecret: imagePullSecrets
envVars: env
serviceAccountName: serviceAccount.name
ingressClassName: ingress.className
hosts: proxy.hosts
hostname: proxy.hosts[0].host
imageTag: image.tag
imageRegistry: global.imageRegistry
monitoring: podMonitor or serviceMonitor
ingress.ingressClassName: ingress.className
ingress.ingressClass: ingress.className
ingress.class: ingress.className
ingress.host: ingress.hosts
ingress.hostname: ingress.hosts
ingress.hostnames: ingress.hosts
ingress.pathType: ingress.wellKnownPathType
service.nodePorts: service.nodePort
service.ports: service.port
service.httpPort: service.port
service.externalPort: service.port
service.loadBalancerSourceRange: service.loadBalancerSourceRanges
autoscaling.minReplicaCount: autoscaling.minReplicas
autoscaling.maxReplicaCount: autoscaling.maxReplicas
autoscaling.min: autoscaling.minReplicas
autoscaling.max: autoscaling.maxReplicas
autoscaling.targetCPU: autoscaling.targetCPUUtilizationPercentage
autoscaling.targetCPUUtilization: autoscaling.targetCPUUtilizationPercentage
image.version: image.tag
image.name: image.repository
image.registry: global.imageRegistry
image.imagePullPolicy: image.pullPolicy
image.pullSecrets: imagePullSecrets
image.sha: image.digest
serviceMonitor.additionalLabels: serviceMonitor.labels
serviceMonitor.extraLabels: serviceMonitor.labels
serviceMonitor.selector: serviceMonitor.labels
serviceMonitor.scrapeInterval: serviceMonitor.interval
serviceMonitor.timeout: serviceMonitor.scrapeTimeout
serviceMonitor.relabelConfigs: serviceMonitor.relabelings
serviceMonitor.metricRelabelConfigs: serviceMonitor.metricRelabelings
podMonitor.additionalLabels: podMonitor.labels
podMonitor.extraLabels: podMonitor.labels
podMonitor.selector: podMonitor.labels
podMonitor.scrapeInterval: podMonitor.interval
podMonitor.timeout: podMonitor.scrapeTimeout
prometheusRule.additionalLabels: prometheusRule.labels
prometheusRule.rules: prometheusRule.additionalRules
prometheusRule.extraRules: prometheusRule.additionalRules
prometheusRule.additionalRuleLabels: prometheusRule.alertLabels
podDisruptionBudget.create: podDisruptionBudget.enabled
networkPolicy.enabled: networkPolicy.create
serviceAccount.enabled: serviceAccount.create
serviceAccount.automountServiceAccountToken: serviceAccount.automount
httpRoute.parentRef: httpRoute.parentRefs
httpRoute.hosts: httpRoute.hostnames
httpRoute.gateways: httpRoute.parentRefs
{{- end }}

{{/* The configuration file: the sections as given, and the files that the chart mounts. */}}
{{- define "mcp-forward-auth.config" -}}
{{- $own := regexSplit "\\s+" (include "mcp-forward-auth.chartKeys" . | trim) -1 }}
{{- $config := dict }}
{{- range $key, $section := .Values }}
{{- if and (not (has $key $own)) $section }}
{{- $_ := set $config $key (deepCopy $section) }}
{{- end }}
{{- end }}
{{- if or .Values.providers (and (not .Values.provider.name) (include "mcp-forward-auth.needsNoProvider" .)) }}
{{- /* The one provider is there with the defaults of values.yaml only. */}}
{{- $_ := unset $config "provider" }}
{{- end }}
{{- if .Values.existingSecrets.clientSecret.name }}
{{- $_ := set $config.provider "clientSecretFile" "client-secret" }}
{{- end }}
{{- if eq (include "mcp-forward-auth.keySource" .) "seed" }}
{{- $keys := $config.keys | default dict }}
{{- $_ := set $keys "source" "seed" }}
{{- if not $keys.seedFiles }}
{{- $files := list }}
{{- range ternary .Values.existingSecrets.seed.keys (list "seed") (ne .Values.existingSecrets.seed.name "") }}
{{- $files = append $files (printf "seeds/%s" .) }}
{{- end }}
{{- $_ := set $keys "seedFiles" $files }}
{{- end }}
{{- $_ := set $config "keys" $keys }}
{{- end }}
{{- with .Values.hostsFiles.sidecar }}
{{- if and .enabled .hosts }}
{{- $endpoints := .endpoints | default (list "*.{1}.svc" (printf "*.{1}.svc.%s" $.Values.clusterDomain)) }}
{{- $rule := dict "files" (include "mcp-forward-auth.gathered" $) "hosts" .hosts "endpoints" $endpoints }}
{{- with .maySet }}
{{- $_ := set $rule "maySet" . }}
{{- end }}
{{- $_ := set $config.proxy "hostsFiles" (append ($config.proxy.hostsFiles | default list) $rule) }}
{{- end }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{/* "true" if entries of hosts come from files as well. */}}
{{- define "mcp-forward-auth.hasHostsFiles" -}}
{{- if or .Values.hostsFiles.sidecar.enabled .Values.proxy.hostsFiles }}true{{ end }}
{{- end }}

{{/* Where the sidecar writes, and the names that it gives to files with UNIQUE_FILENAMES. A namespace has no dot, so the first asterisk is the whole of it. */}}
{{- define "mcp-forward-auth.gatheredFolder" -}}
/etc/mcp-forward-auth-hosts
{{- end }}
{{- define "mcp-forward-auth.gathered" -}}
{{ include "mcp-forward-auth.gatheredFolder" . }}/namespace_*.configmap_*.yaml
{{- end }}

{{/* The environment of the sidecar. A ConfigMap can have it fetch a URL: the proxy that is none sees to it that no request leaves but those to the API server. */}}
{{- define "mcp-forward-auth.sidecarEnv" -}}
{{- $s := .Values.hostsFiles.sidecar }}
{{- $env := list
  (list "LABEL" $s.label)
  (list "LABEL_VALUE" $s.labelValue)
  (list "RESOURCE" "configmap")
  (list "NAMESPACE" (join "," $s.namespaces))
  (list "FOLDER" (include "mcp-forward-auth.gatheredFolder" .))
  (list "FOLDER_ANNOTATION" "/")
  (list "UNIQUE_FILENAMES" "true")
  (list "METHOD" $s.method)
  (list "SLEEP_TIME" (toString $s.sleepSeconds))
  (list "HEALTH_PORT" (toString $s.healthPort))
  (list "LOG_LEVEL" "WARNING")
  (list "REQ_RETRY_TOTAL" "2")
  (list "REQ_RETRY_CONNECT" "2")
  (list "REQ_RETRY_BACKOFF_FACTOR" "0.2")
  (list "HTTP_PROXY" "http://127.0.0.1:1")
  (list "HTTPS_PROXY" "http://127.0.0.1:1")
  (list "NO_PROXY" "$(KUBERNETES_SERVICE_HOST)")
}}
{{- range $env }}
{{- if and (last .) (include "mcp-forward-auth.lacks" (dict "list" $s.env "key" "name" "value" (first .))) }}
- name: {{ first . }}
  value: {{ last . | quote }}
{{- end }}
{{- end }}
{{- with $s.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/*
The sidecar, as an init container that goes on: the service starts once the
sidecar has written what there is. It alone has a token of the API.
*/}}
{{- define "mcp-forward-auth.sidecar" -}}
{{- $s := .Values.hostsFiles.sidecar -}}
- name: hosts-files
  image: {{ include "mcp-forward-auth.imageName" (dict "root" . "image" $s.image) | quote }}
  imagePullPolicy: {{ $s.image.pullPolicy }}
  restartPolicy: Always
  env:
    {{- include "mcp-forward-auth.sidecarEnv" . | trim | nindent 4 }}
  ports:
    - name: hosts-files
      containerPort: {{ $s.healthPort }}
      protocol: TCP
  startupProbe:
    httpGet:
      path: /healthz
      port: hosts-files
    periodSeconds: 1
    failureThreshold: 120
  livenessProbe:
    httpGet:
      path: /healthz
      port: hosts-files
    periodSeconds: 20
    timeoutSeconds: 5
    failureThreshold: 6
  {{- with $s.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with include "mcp-forward-auth.securityContext" . | trim }}
  securityContext:
    {{- . | nindent 4 }}
  {{- end }}
  volumeMounts:
    - name: hosts-files
      mountPath: {{ include "mcp-forward-auth.gatheredFolder" . }}
    - name: hosts-files-token
      mountPath: /var/run/secrets/kubernetes.io/serviceaccount
      readOnly: true
{{- end }}

{{/* The volumes of the sidecar: the files, and its token of the API. */}}
{{- define "mcp-forward-auth.sidecarVolumes" -}}
# In memory, so that too many files are refused to the sidecar, and do not have the pod evicted.
- name: hosts-files
  emptyDir:
    medium: Memory
    sizeLimit: {{ .Values.hostsFiles.sidecar.sizeLimit }}
- name: hosts-files-token
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 3607
      - configMap:
          name: kube-root-ca.crt
          items: [{key: ca.crt, path: ca.crt}]
      - downwardAPI:
          items: [{path: namespace, fieldRef: {apiVersion: v1, fieldPath: metadata.namespace}}]
{{- end }}

{{/* Sources of the volume that holds the configuration and every secret file. */}}
{{- define "mcp-forward-auth.configSources" -}}
{{- $e := .Values.existingSecrets -}}
- secret:
    name: {{ $e.config.name | default (include "mcp-forward-auth.fullname" .) }}
    items:
      - key: {{ ternary $e.config.key "config.yaml" (ne $e.config.name "") }}
        path: config.yaml
{{- with $e.clientSecret.name }}
- secret:
    name: {{ . }}
    items:
      - key: {{ $e.clientSecret.key }}
        path: client-secret
{{- end }}
{{- if or $e.seed.name (include "mcp-forward-auth.makesSeed" .) }}
- secret:
    name: {{ $e.seed.name | default (printf "%s-seed" (include "mcp-forward-auth.fullname" .)) }}
    items:
      {{- range ternary $e.seed.keys (list "seed") (ne $e.seed.name "") }}
      - key: {{ . }}
        path: seeds/{{ . }}
      {{- end }}
{{- end }}
{{- range $e.files }}
{{- $name := .name }}
- secret:
    name: {{ $name }}
    items:
      {{- range .keys }}
      - key: {{ . }}
        path: secrets/{{ $name }}/{{ . }}
      {{- end }}
{{- end }}
{{- end }}

{{/* The volumes of a container that reads the configuration file, and where they are mounted. */}}
{{- define "mcp-forward-auth.volumes" -}}
{{- if include "mcp-forward-auth.lacks" (dict "list" .Values.volumes "key" "name" "value" "config") }}
# One volume, so that the configuration and the files it names change together.
- name: config
  projected:
    defaultMode: 0440
    sources:
      {{- include "mcp-forward-auth.configSources" . | nindent 6 }}
{{- end }}
{{- with include "mcp-forward-auth.caVolume" . | trim }}
{{ . }}
{{- end }}
{{- with .Values.volumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- define "mcp-forward-auth.volumeMounts" -}}
{{- if include "mcp-forward-auth.lacks" (dict "list" .Values.volumeMounts "key" "mountPath" "value" "/etc/mcp-forward-auth") }}
- name: config
  mountPath: /etc/mcp-forward-auth
  readOnly: true
{{- end }}
{{- with include "mcp-forward-auth.caMount" . | trim }}
{{ . }}
{{- end }}
{{- with .Values.volumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/*
The same volumes before the release is there. What the chart makes is in the Secret of the
check, and a Secret or ConfigMap that is missing keeps no pod waiting: the program says
which file is not there.
*/}}
{{- define "mcp-forward-auth.earlyVolumes" -}}
{{- $own := include "mcp-forward-auth.fullname" . }}
{{- $made := list }}
{{- if not .Values.existingSecrets.config.name }}
{{- $made = append $made $own }}
{{- end }}
{{- if include "mcp-forward-auth.makesSeed" . }}
{{- $made = append $made (printf "%s-seed" $own) }}
{{- end }}
{{- $volumes := include "mcp-forward-auth.volumes" . | fromYamlArray }}
{{- range $volume := $volumes }}
{{- range $source := append (dig "projected" "sources" list $volume) $volume }}
{{- range pick $source "secret" "configMap" }}
{{- $_ := set . "optional" true }}
{{- end }}
{{- range $key := list "name" "secretName" }}
{{- if has (dig "secret" $key "" $source) $made }}
{{- $_ := set $source.secret $key (printf "%s-check" $own) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- toYaml $volumes }}
{{- end }}

{{/* Ports by the name of the listener, from the addresses in the section listen. */}}
{{- define "mcp-forward-auth.ports" -}}
{{- $ports := dict "http" 8080 "management" 9090 }}
{{- range $name, $address := .Values.listen }}
{{- with regexFind "[0-9]+$" (toString $address) }}
{{- $_ := set $ports $name (int .) }}
{{- end }}
{{- end }}
{{- toYaml $ports }}
{{- end }}

{{/* Names of public hosts, without ports and addresses, each once. */}}
{{- define "mcp-forward-auth.hostnames" -}}
{{- $hosts := list }}
{{- range .Values.proxy.hosts }}
{{- $host := regexReplaceAll ":[0-9]+$" .host "" }}
{{- if not (regexMatch "^([0-9.]+|\\[.*\\])$" $host) }}
{{- $hosts = append $hosts $host }}
{{- end }}
{{- end }}
{{- toYaml (dict "list" (uniq $hosts)) }}
{{- end }}

{{/* The public path of an entry of proxy.hosts. */}}
{{- define "mcp-forward-auth.publicPath" -}}
{{- $path := .path | default (get (urlParse .endpoint) "path") | trimSuffix "/" }}
{{- $path | default "/" }}
{{- end }}

{{/* Where identity providers send browsers back to: {path, type}. Several have a path each. */}}
{{- define "mcp-forward-auth.callbackPaths" -}}
{{- $type := ternary "Prefix" "Exact" (ne .Values.existingSecrets.config.name "") }}
{{- $paths := list (dict "path" "/callback" "type" $type) }}
{{- range .Values.providers }}
{{- $paths = append $paths (dict "path" (printf "/callback/%s" .id) "type" "Exact") }}
{{- end }}
{{- toYaml (dict "list" $paths) }}
{{- end }}

{{/* The name of proxy.callbackHost if it is none of the hosts that are routed anyway: its argument is {root, hosts}. */}}
{{- define "mcp-forward-auth.callbackHostname" -}}
{{- $host := regexReplaceAll ":[0-9]+$" (.root.Values.proxy.callbackHost | default "") "" }}
{{- if not (has $host .hosts) }}{{ $host }}{{ end }}
{{- end }}

{{/*
What the gateway must route here: {path, type}. /authenticate is not among them;
only the gateway itself asks there.
*/}}
{{- define "mcp-forward-auth.paths" -}}
{{- $paths := list }}
{{- range list "/.well-known/oauth-protected-resource" "/.well-known/oauth-authorization-server" "/.well-known/openid-configuration" }}
{{- $paths = append $paths (dict "path" . "type" "Prefix") }}
{{- end }}
{{- range list "/openid/v1/jwks" "/register" "/authorize" "/consent" "/login" "/token" "/revoke" }}
{{- $paths = append $paths (dict "path" . "type" "Exact") }}
{{- end }}
{{- if (.Values.pushedRequests | default dict).enabled }}
{{- $paths = append $paths (dict "path" "/par" "type" "Exact") }}
{{- end }}
{{- range .Values.proxy.hosts }}
{{- if .deviceGrant }}
{{- $paths = append $paths (dict "path" "/device" "type" "Exact") }}
{{- $paths = append $paths (dict "path" "/device_authorization" "type" "Exact") }}
{{- end }}
{{- if .tokenExchange }}
{{- $paths = append $paths (dict "path" "/dead-token" "type" "Exact") }}
{{- end }}
{{- end }}
{{- $paths = uniq $paths }}
{{- $paths = concat $paths (include "mcp-forward-auth.callbackPaths" . | fromYaml).list }}
{{- $appended := list }}
{{- range .Values.proxy.hosts }}
{{- $path := include "mcp-forward-auth.publicPath" . }}
{{- if ne $path "/" }}
{{- $appended = append $appended (printf "%s/.well-known/openid-configuration" $path) }}
{{- end }}
{{- end }}
{{- range uniq $appended }}
{{- $paths = append $paths (dict "path" . "type" "Exact") }}
{{- end }}
{{- toYaml (dict "list" $paths) }}
{{- end }}

{{/*
Paths of the MCP servers that the service itself serves at a host, which come here
too: {path, type}. They are of that host alone; at another one the server would be
open. Arguments: root, host.
*/}}
{{- define "mcp-forward-auth.servedPaths" -}}
{{- $paths := list }}
{{- range .root.Values.proxy.hosts }}
{{- if and (dig "serve" "enabled" false .) (eq (regexReplaceAll ":[0-9]+$" .host "") $.host) }}
{{- $paths = append $paths (dict "path" (include "mcp-forward-auth.publicPath" .) "type" "Prefix") }}
{{- end }}
{{- end }}
{{- toYaml (dict "list" $paths) }}
{{- end }}

{{/*
The same paths, each by its whole name: for gateways that ask about everything
else. A prefix would let more pass than is meant. The paths below that of an MCP
server are not among them: where no route sends them here, they reach the server.
*/}}
{{- define "mcp-forward-auth.exactPaths" -}}
{{- $exact := list }}
{{- range (include "mcp-forward-auth.paths" . | fromYaml).list }}
{{- if or (hasPrefix "/.well-known/" .path) (not (contains "/.well-known/" .path)) }}
{{- $exact = append $exact .path }}
{{- end }}
{{- if hasPrefix "/.well-known/" .path }}
{{- $document := .path }}
{{- range $.Values.proxy.hosts }}
{{- $path := include "mcp-forward-auth.publicPath" . }}
{{- if ne $path "/" }}
{{- $exact = append $exact (printf "%s%s" $document $path) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- toYaml (dict "list" (uniq $exact)) }}
{{- end }}

{{/* host:port of the Service inside the cluster, without the port of http. */}}
{{- define "mcp-forward-auth.serviceHost" -}}
{{ include "mcp-forward-auth.fullname" . }}.{{ include "mcp-forward-auth.namespace" . }}.svc.{{ .Values.clusterDomain }}
{{- end }}
{{- define "mcp-forward-auth.serviceURL" -}}
http://{{ include "mcp-forward-auth.serviceHost" . }}{{ if ne (int .Values.service.port) 80 }}:{{ .Values.service.port }}{{ end }}
{{- end }}

{{/* Names of the identity headers, as the program resolves them. */}}
{{- define "mcp-forward-auth.identityHeaders" -}}
{{- $names := .Values.identityHeaders | default dict }}
{{- $headers := dict "user" "X-Auth-Request-User" "email" "X-Auth-Request-Email" "groups" "X-Auth-Request-Groups" }}
{{- if eq (get $names "preset") "forwarded" }}
{{- $headers = dict "user" "X-Forwarded-User" "email" "X-Forwarded-Email" "groups" "X-Forwarded-Groups" "name" "X-Forwarded-Name" }}
{{- end }}
{{- range $key := list "user" "email" "groups" "name" "client" "scope" }}
{{- with get $names $key }}
{{- $_ := set $headers $key . }}
{{- end }}
{{- end }}
{{- $jwt := get $names "jwt" | default dict }}
{{- if get $jwt "enabled" }}
{{- $_ := set $headers "jwt" (get $jwt "header" | default "X-Auth-Request-Identity") }}
{{- end }}
{{- /* The provider's token, and the handle of one that is too large. */}}
{{- range .Values.proxy.hosts }}
{{- $token := .providerToken | default dict }}
{{- $header := get $token "header" | default "X-Forwarded-Access-Token" }}
{{- if and (get $token "token") (ne $header "Authorization") }}
{{- $_ := set $headers (lower $header) $header }}
{{- if eq (get $token "form" | default "client") "held" }}
{{- $_ := set $headers (printf "%s-handle" (lower $header)) (printf "%s-Handle" $header) }}
{{- end }}
{{- end }}
{{- end }}
{{- toYaml (dict "list" (values $headers | sortAlpha | uniq)) }}
{{- end }}

{{/*
The MCP servers as Services of this cluster: {host, path, name, service, namespace,
port, url}. It fails for an endpoint that is none. Arguments: root, what.
*/}}
{{- define "mcp-forward-auth.backends" -}}
{{- $root := .root }}
{{- $what := .what }}
{{- $backends := list }}
{{- range $i, $entry := .root.Values.proxy.hosts }}
{{- if not (dig "serve" "enabled" false $entry) }}{{/* no gateway stands before a served one */}}
{{- $url := urlParse $entry.endpoint }}
{{- $labels := splitList "." (regexReplaceAll ":[0-9]+$" $url.host "" | trimSuffix ".") }}
{{- if or (ne $url.scheme "http") (lt (len $labels) 3) (ne (index $labels 2) "svc") }}
{{- fail (printf "%s.enabled needs Services of this cluster, but proxy.hosts[%d].endpoint is %q: write it as http://NAME.NAMESPACE.svc.%s:PORT/PATH, or route that server yourself." $what $i $entry.endpoint $root.Values.clusterDomain) }}
{{- end }}
{{- $path := include "mcp-forward-auth.publicPath" $entry }}
{{- if ne $path ($url.path | trimSuffix "/" | default "/") }}
{{- fail (printf "%s.enabled cannot rewrite paths, but proxy.hosts[%d] has the public path %q and the endpoint %q: route that server yourself." $what $i $path $entry.endpoint) }}
{{- end }}
{{- $host := regexReplaceAll ":[0-9]+$" $entry.host "" }}
{{- $backends = append $backends (dict
  "host" $host "path" $path "service" (index $labels 0) "namespace" (index $labels 1)
  "port" (regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) | default "80" | int)
  "name" (printf "%s%s" $host ($path | trimSuffix "/") | lower | replace "/" "-" | replace "." "-" | replace "_" "-" | trunc 60 | trimAll "-")) }}
{{- end }}
{{- end }}
{{- /* Two addresses may come to one name: a.example.com/b-c and a.example.com/b/c. */}}
{{- $names := list }}
{{- range $backends }}
{{- if has .name $names }}
{{- $_ := set . "name" (printf "%s-%s" (.name | trunc 51 | trimSuffix "-") (printf "%s%s" .host .path | sha256sum | trunc 8)) }}
{{- end }}
{{- $names = append $names .name }}
{{- end }}
{{- toYaml (dict "list" $backends) }}
{{- end }}

{{/*
Headers that a gateway takes from the answer of this service, in place of the
client's own. The service answers without Authorization and DPoP, so their names in
this list take the client's token, and the proof of its key, away.
*/}}
{{- define "mcp-forward-auth.responseHeaders" -}}
{{- $headers := (include "mcp-forward-auth.identityHeaders" . | fromYaml).list }}
{{- if not .Values.protection.passAuthorization }}
{{- $headers = concat $headers (list "Authorization" "DPoP") | uniq }}
{{- end }}
{{- toYaml (dict "list" $headers) }}
{{- end }}

{{/* An answer of the sign-in can have more headers than nginx takes by default. */}}
{{- define "mcp-forward-auth.nginxBuffers" -}}
nginx.ingress.kubernetes.io/proxy-buffer-size: 16k
{{- end }}

{{/* Annotations that make ingress-nginx ask this service. */}}
{{- define "mcp-forward-auth.nginxAnnotations" -}}
nginx.ingress.kubernetes.io/auth-url: {{ include "mcp-forward-auth.serviceURL" . }}/authenticate?host=$host
nginx.ingress.kubernetes.io/auth-response-headers: {{ join "," (include "mcp-forward-auth.responseHeaders" . | fromYaml).list }}
{{ include "mcp-forward-auth.nginxBuffers" . }}
nginx.ingress.kubernetes.io/proxy-read-timeout: "3600"
nginx.ingress.kubernetes.io/proxy-send-timeout: "3600"
{{- end }}

{{/* A Go duration in seconds. */}}
{{- define "mcp-forward-auth.seconds" -}}
{{- $total := 0 }}
{{- range regexFindAll "[0-9]+(h|ms|m|s)" . -1 }}
{{- $n := regexFind "^[0-9]+" . | int }}
{{- if hasSuffix "ms" . }}
{{- else if hasSuffix "h" . }}{{ $total = add $total (mul $n 3600) }}
{{- else if hasSuffix "m" . }}{{ $total = add $total (mul $n 60) }}
{{- else }}{{ $total = add $total $n }}
{{- end }}
{{- end }}
{{- $total }}
{{- end }}

{{/* Nine tenths of a memory limit in bytes, or nothing if the limit is written unusually. */}}
{{- define "mcp-forward-auth.memoryLimit" -}}
{{- $limit := kindIs "float64" . | ternary (int64 .) . | toString }}
{{- if regexMatch "^[0-9]+(Ki|Mi|Gi|k|M|G)?$" $limit }}
{{- $unit := get (dict "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "k" 1000 "M" 1000000 "G" 1000000000 "" 1) (regexFind "[A-Za-z]*$" $limit) }}
{{- div (mul (regexFind "^[0-9]+" $limit | int64) $unit 9) 10 }}
{{- end }}
{{- end }}

{{/*
The namespace of the Service that a URL names, "" if it names none of this
cluster: NAME.NAMESPACE.svc and what may follow, NAME.NAMESPACE with plain http or tcp,
or NAME alone, which is in the release's namespace. Arguments: root, url.
*/}}
{{- define "mcp-forward-auth.serviceNamespace" -}}
{{- $url := urlParse .url }}
{{- $host := regexReplaceAll ":[0-9]+$" $url.host "" | trimSuffix "." }}
{{- $labels := splitList "." $host }}
{{- if or (contains ":" $host) (regexMatch "^[0-9.]+$" $host) (eq $host "localhost") }}
{{- else if and (ge (len $labels) 3) (eq (index (append $labels "") 2) "svc") }}
{{- index $labels 1 }}
{{- else if and (eq (len $labels) 2) (has $url.scheme (list "http" "tcp")) }}
{{- index $labels 1 }}
{{- else if eq (len $labels) 1 }}
{{- include "mcp-forward-auth.namespace" .root }}
{{- end }}
{{- end }}

{{/*
The URLs of what the service asks: each URL of the configuration but those that only
browsers and clients use, the stores, the gateways that the gate watch asks, the proxies,
and what clients bring along.
*/}}
{{- define "mcp-forward-auth.reached" -}}
{{- $found := dict "list" list }}
{{- $config := omit (include "mcp-forward-auth.config" . | fromYaml) "branding" "guard" }}
{{- include "mcp-forward-auth.urls" (dict "value" $config "found" $found) }}
{{- $guard := .Values.guard | default dict }}
{{- range dig "redis" "addresses" list $guard }}
{{- $_ := set $found "list" (append $found.list (printf "tcp://%s" .)) }}
{{- end }}
{{- $postgres := dig "postgres" dict $guard }}
{{- if $postgres.address }}
{{- $_ := set $found "list" (append $found.list (printf "tcp://%s" $postgres.address)) }}
{{- else if $postgres }}{{/* its address is in a file */}}
{{- $_ := set $found "list" (append $found.list "tcp://address.unknown.invalid:5432") }}
{{- end }}
{{- $watch := .Values.gateWatch | default dict }}
{{- if $watch.enabled }}
{{- range append ($watch.hosts | default list) $watch }}
{{- with .connect }}
{{- $_ := set $found "list" (append $found.list (printf "https://%s" .)) }}
{{- end }}
{{- end }}
{{- end }}
{{- range .Values.env }}
{{- if and (has (lower .name) (list "https_proxy" "http_proxy" "all_proxy")) .value }}
{{- $_ := set $found "list" (append $found.list (contains "://" .value | ternary .value (printf "http://%s" .value))) }}
{{- end }}
{{- end }}
{{- range dig "metadataDocuments" "allowedDomains" list (.Values.registration | default dict) }}
{{- if contains ".svc" . }}
{{- $_ := set $found "list" (append $found.list (printf "https://%s" .)) }}
{{- end }}
{{- end }}
{{- toYaml (dict "list" (uniq $found.list)) }}
{{- end }}

{{/* The URLs in a value, at any depth. found gets them. */}}
{{- define "mcp-forward-auth.urls" -}}
{{- $found := .found }}
{{- if kindIs "map" .value }}
{{- range $key, $value := omit .value "authorizeURL" "redirectURIs" "allowedRedirectURLs" "resource" "resources" "audience" "audiences" "id" "description" }}
{{- include "mcp-forward-auth.urls" (dict "value" $value "found" $found) }}
{{- end }}
{{- else if kindIs "slice" .value }}
{{- range .value }}
{{- include "mcp-forward-auth.urls" (dict "value" . "found" $found) }}
{{- end }}
{{- else if and (kindIs "string" .value) (regexMatch "^https?://[^\\s]+$" .value) }}
{{- $_ := set $found "list" (append $found.list .value) }}
{{- end }}
{{- end }}

{{/* The port of a URL. */}}
{{- define "mcp-forward-auth.urlPort" -}}
{{- $url := urlParse . }}
{{- regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) | default (ternary "443" "80" (eq $url.scheme "https")) }}
{{- end }}

{{/*
A probe. Values written for mcp-oauth2-proxy say port http, where this program
answers no probes: the management port is meant.
*/}}
{{- define "mcp-forward-auth.probe" -}}
{{- $probe := deepCopy . }}
{{- if eq (toString (dig "httpGet" "port" "" $probe)) "http" }}
{{- $_ := set $probe.httpGet "port" "management" }}
{{- end }}
{{- toYaml $probe }}
{{- end }}
