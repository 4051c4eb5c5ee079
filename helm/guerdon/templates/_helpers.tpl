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
postgresql+psycopg://guerdon:{{ required "postgresql.password is empty; give one, or secrets.stateUrl" .Values.postgresql.password }}@{{ .Release.Name }}-postgresql:5432/guerdon
{{- end -}}
{{- end -}}

{{- /* What the service and the migrations job read from the secret; a key that is not there is left out. */ -}}
{{- define "guerdon.secretEnv" -}}
- name: GUERDON_REDIS_URL
  valueFrom:
    secretKeyRef: {name: {{ include "guerdon.secretName" . }}, key: redis-url, optional: true}
- name: GUERDON_STATE_URL
  valueFrom:
    secretKeyRef: {name: {{ include "guerdon.secretName" . }}, key: state-url, optional: true}
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
