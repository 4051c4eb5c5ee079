{{- define "guerdon.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "guerdon.selector" -}}
app.kubernetes.io/name: guerdon
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: service
{{- end -}}

{{- define "guerdon.labels" -}}
{{ include "guerdon.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "guerdon.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "guerdon.secretName" -}}
{{- .Values.secrets.existingSecret | default (include "guerdon.fullname" .) -}}
{{- end -}}

{{- define "guerdon.redisUrl" -}}
{{- if .Values.secrets.redisUrl -}}
{{ .Values.secrets.redisUrl }}
{{- else if .Values.redis.enabled -}}
redis://{{ .Release.Name }}-redis:6379/0
{{- end -}}
{{- end -}}

{{- define "guerdon.stateUrl" -}}
{{- if .Values.secrets.stateUrl -}}
{{ .Values.secrets.stateUrl }}
{{- else if .Values.postgresql.enabled -}}
postgresql+psycopg://guerdon:{{ required "postgresql.password is empty; give one, or secrets.stateUrl" .Values.postgresql.password | urlquery | replace "+" "%20" }}@{{ .Release.Name }}-postgresql:5432/guerdon
{{- end -}}
{{- end -}}

{{- /* Variables of the service and of the migrations job; a key that the secret has not got is left out. */ -}}
{{- define "guerdon.env" -}}
env:
  - name: GUERDON_REDIS_URL
    valueFrom:
      secretKeyRef: {name: {{ include "guerdon.secretName" . }}, key: redis-url, optional: true}
  - name: GUERDON_STATE_URL
    valueFrom:
      secretKeyRef: {name: {{ include "guerdon.secretName" . }}, key: state-url, optional: true}
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.extraEnvFrom }}
envFrom: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* An HTTP probe; behind mutual TLS, where the kubelet has no certificate, the pod asks itself with one. */ -}}
{{- define "guerdon.probe" -}}
{{- if .root.Values.tls.mutual -}}
exec:
  command:
    - python
    - -c
    - |
      import ssl, urllib.request
      tls = ssl.create_default_context(cafile="/etc/guerdon-tls/ca.crt")
      tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
      tls.load_cert_chain("/etc/guerdon-tls/probe.crt", "/etc/guerdon-tls/probe.key")
      urllib.request.urlopen("https://127.0.0.1:8080{{ .path }}", timeout=4, context=tls)
timeoutSeconds: 5
{{- else -}}
httpGet: {path: {{ .path }}, port: http{{ if .root.Values.tls.existingSecret }}, scheme: HTTPS{{ end }}}
timeoutSeconds: 5
{{- end -}}
{{- end -}}

{{- /* Where a pod of ours may run, and how its image is had. */ -}}
{{- define "guerdon.place" -}}
{{- range $name := list "imagePullSecrets" "nodeSelector" "tolerations" "affinity" }}
{{- with index $.Values $name }}
{{ $name }}: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "guerdon.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "guerdon.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end -}}
