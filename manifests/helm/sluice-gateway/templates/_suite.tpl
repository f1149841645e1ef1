{{/* The suite's configuration: what each switched-on concern says, and module.config over it. */}}
{{- define "sluice.config" -}}
{{- $config := dict -}}
{{- if .Values.health.enabled }}{{ $config = mustMergeOverwrite $config (include "sluice.health" . | fromYaml) }}{{ end -}}
{{- if .Values.canary.enabled }}{{ $config = mustMergeOverwrite $config (include "sluice.canary" . | fromYaml) }}{{ end -}}
{{- if .Values.chaos.enabled }}{{ $config = mustMergeOverwrite $config (include "sluice.chaos" . | fromYaml) }}{{ end -}}
{{- if or .Values.limits.enabled .Values.globalLimit.enabled }}{{ $config = mustMergeOverwrite $config (include "sluice.limits" . | fromYaml) }}{{ end -}}
{{- mustMergeOverwrite $config (deepCopy .Values.module.config) | toJson -}}
{{- end -}}

{{- define "sluice.health" -}}
headerMatch:
  rules:
    - name: health
      match:
        - uri:
            exact: {{ .Values.health.path }}
      directResponse:
        status: 200
        body:
          string: "ok\n"
{{- end -}}

{{/* v1 is the ground: more weight for v2 only ever moves users from v1 to v2, never back. */}}
{{- define "sluice.canary" -}}
trafficShift:
  rules:
    - name: catalog
      cookie:
        name: shop-release
        ttl: {{ .Values.canary.cookieTtl }}
        path: /
      # What a client sends in it himself is removed first: nobody chooses his version.
      header: x-shop-release
      # Testers choose: `curl -b shop-force=v2`.
      forceCookie: shop-force
      destinations:
        - name: v1
          weight: {{ sub 100 (int .Values.canary.percent) }}
        - name: v2
          weight: {{ .Values.canary.percent }}
{{- end -}}

{{- define "sluice.chaos" -}}
faultInject:
  rules:
    - match:
        - headers:
            x-chaos-team:
              exact: catalog
          uri:
            segmentPrefix: /products
      abort:
        httpStatus: 503
        body:
          string: "drill: the catalog is gone\n"
        headers:
          x-fault-injected: catalog-gone
      maxActive: {{ .Values.chaos.maxActive }}
      activeWindow:
        until: {{ .Values.chaos.until | quote }}
    - match:
        - headers:
            x-chaos-team:
              exact: slow
          uri:
            segmentPrefix: /api/cart
      delay:
        fixedDelay: 200ms
      maxActive: {{ .Values.chaos.maxActive }}
      activeWindow:
        until: {{ .Values.chaos.until | quote }}
{{- end -}}

{{- define "sluice.limit" -}}
requests: {{ .requests }}
per: {{ .per }}
{{- with .burst }}
burst: {{ . }}
{{- end }}
{{- end -}}

{{/* A global limit stands behind local ones: globalLimit switches them on as well. */}}
{{- define "sluice.limits" -}}
rateLimit:
  rules:
    {{- if .Values.globalLimit.enabled }}
    - name: api
      match:
        - uri:
            segmentPrefix: /api
      key:
        - cookie: shop-session
        - clientIp: {}
      limit:
        {{- include "sluice.limit" .Values.globalLimit.fence | nindent 8 }}
      rateLimitHeaders: "off"
      global:
        cluster: ratelimit
        domain: shop
        timeout: {{ .Values.globalLimit.timeout }}
        failureModeDeny: {{ .Values.globalLimit.failureModeDeny }}
        descriptors:
          - entries:
              - key: plan
                value: api
              - key: user
                from:
                  cookie: shop-session
    {{- end }}
    # Guessing passwords.
    - name: login
      match:
        - uri:
            exact: /login
          method:
            exact: POST
      key:
        - clientIp:
            ipv4Prefix: 32
            ipv6Prefix: 64
      limit:
        {{- include "sluice.limit" .Values.limits.login | nindent 8 }}
      replicas: {{ .Values.limits.replicas }}
      mode: {{ .Values.limits.login.mode | quote }}
      response:
        status: 429
        body:
          string: "too many attempts, try again later\n"
    - name: per-address
      key:
        - clientIp:
            ipv4Prefix: 32
            ipv6Prefix: 64
      limit:
        {{- include "sluice.limit" .Values.limits.perAddress | nindent 8 }}
      replicas: {{ .Values.limits.replicas }}
      mode: {{ .Values.limits.perAddress.mode | quote }}
      {{- include "sluice.quietUnlessEnforced" .Values.limits.perAddress | nindent 6 }}
    - name: per-user
      match:
        - cookies:
            shop-session: {}
      key:
        - cookie: shop-session
      limit:
        {{- include "sluice.limit" .Values.limits.perUser | nindent 8 }}
      replicas: {{ .Values.limits.replicas }}
      mode: {{ .Values.limits.perUser.mode | quote }}
      {{- include "sluice.quietUnlessEnforced" .Values.limits.perUser | nindent 6 }}
{{- end -}}

{{/* A limit that is not in force is nobody's business yet. */}}
{{- define "sluice.quietUnlessEnforced" -}}
{{- if ne .mode "enforce" -}}
rateLimitHeaders: "off"
{{- end -}}
{{- end -}}

{{/* A file of the kustomize side as it stands, with the namespaces of the values. */}}
{{- define "sluice.shared" -}}
{{- $gateway := .root.Values.gateway -}}
{{- .text | replace "namespace: shop" (printf "namespace: %s" .root.Values.namespace) | replace "istio-system" $gateway.namespace | replace "istio: ingressgateway" (printf "istio: %s" $gateway.label) }}
{{- end -}}
