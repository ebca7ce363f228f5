{{- /* What other charts can use, too: bearerd.container is an item of initContainers. */}}

{{- define "bearerd.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "bearerd.name" -}}
{{ printf "%s-bearerd" .Release.Name | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "bearerd.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "bearerd.config" -}}
[okta]
base_url = {{ .Values.okta.baseUrl | toJson }}

[credentials.default]
team_name = {{ .Values.okta.teamName | toJson }}
key_dir = "/var/run/secrets/okta"
{{- if eq .Values.kind "DaemonSet" }}

[listeners.apps]
bind = "unix:/run/bearerd/bearerd.sock"
mode = "0666"
allow_uids = {{ .Values.node.allowUids | toJson }}
max_connections_per_uid = 64
{{- else }}
allow_group_readable_key = true

[listeners.apps]
bind = "unix:/run/bearerd/bearerd.sock"
allow_shared_directory = true
mode = "0666"
{{- if .Values.tcp }}

[listeners.tcp]
bind = "tcp:127.0.0.1:8420"
{{- end }}
{{- end }}

[control]
bind = "unix:/dev/shm/bearerd/control.sock"
{{- with .Values.extraConfig }}

{{ . }}
{{- end }}
{{- end }}

{{- define "bearerd.container" -}}
- name: bearerd
  image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  {{- if ne .Values.kind "DaemonSet" }}
  restartPolicy: Always
  {{- end }}
  {{- if .Values.podMonitor.enabled }}
  env:
    - {name: BEARERD_TELEMETRY__BIND, value: "tcp:0.0.0.0:9420"}
  ports:
    - {name: bearerd-metrics, containerPort: 9420}
  {{- end }}
  startupProbe:
    exec: {command: [/bearerd, health, {{ eq .Values.kind "DaemonSet" | ternary "--live" "--ready" }}]}
    periodSeconds: 1
    timeoutSeconds: 3
    failureThreshold: {{ eq .Values.kind "DaemonSet" | ternary 30 1800 }}
  {{- if ne .Values.kind "Job" }}
  readinessProbe:
    exec: {command: [/bearerd, health, --ready]}
    periodSeconds: 10
    timeoutSeconds: 3
  {{- end }}
  livenessProbe:
    exec: {command: [/bearerd, health, --live]}
    periodSeconds: 10
    timeoutSeconds: 3
    failureThreshold: 3
  resources: {{- toYaml .Values.resources | nindent 4 }}
  securityContext: {{- include "bearerd.confined" . | nindent 4 }}
  volumeMounts:
    - {name: bearerd-config, mountPath: /etc/bearerd, readOnly: true}
    - {name: bearerd-key, mountPath: /var/run/secrets/okta, readOnly: true}
    - {name: bearerd-socket, mountPath: /run/bearerd}
{{- end }}

{{- define "bearerd.volumes" -}}
- name: bearerd-config
  configMap: {name: {{ include "bearerd.name" . }}}
- name: bearerd-key
  secret: {secretName: {{ .Values.key.secretName }}, defaultMode: 0400}
- name: bearerd-socket
  {{- if eq .Values.kind "DaemonSet" }}
  hostPath: {path: {{ .Values.node.directory | quote }}, type: DirectoryOrCreate}
  {{- else }}
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
  {{- end }}
{{- end }}
