-- Prosody 0.12 on loopback.
run_as_root = true;
daemonize = false;
pidfile = "{{.Dir}}/prosody.pid";
data_path = "{{.Dir}}/data";
certificates = "{{.Dir}}";
plugin_paths = { "{{.Dir}}/modules" };
interfaces = { "127.0.0.1" };
local_interfaces = { "127.0.0.1" };

c2s_ports = { {{.Port}} };
c2s_direct_tls_ports = { {{.TLSPort}} };   -- XEP-0368
component_ports = { };
http_ports = { };
https_ports = { };
s2s_ports = { };

c2s_require_encryption = true;
authentication = "internal_hashed";
password_hash = "SHA-256";
admins = { "admin@localhost" };
allow_registration = {{if .Register}}true{{else}}false{{end}};
{{if .Invites -}}
registration_invite_only = true;
allow_user_invites = true;
{{end -}}
{{if .RegisterMax -}}
registration_allowlist = { };   -- the stock one names 127.0.0.1
registration_throttle_max = {{.RegisterMax}};
registration_throttle_period = 600;
{{end -}}
storage = "internal";
archive_expires_after = "1d";
default_archive_policy = {{if .Archive}}true{{else}}false{{end}};
max_archive_query_results = 50;

ssl = { certificate = "{{.Cert.CertFile}}"; key = "{{.Cert.KeyFile}}"; };

smacks_hibernation_time = 120;
smacks_max_old_sessions = 10;
smacks_max_unacked_stanzas = 0;
c2s_stanza_size_limit = 262144;
{{if .Stock -}}
-- The limits of Debian's configuration: 10 kB/s, about 40 messages a second.
limits = { c2s = { rate = "10kb/s"; }; };
{{end}}
modules_enabled = {
  "roster"; "saslauth"; "tls"; "disco"; "carbons"; "pep"; "private"; "blocklist";
  "vcard4"; "vcard_legacy"; "bookmarks"; "version"; "uptime"; "time"; "ping";
  "smacks"; "csi_simple"; "lastactivity"; "offline";
  {{if .Archive}}"mam";{{end}} {{if .Stock}}"limits";{{end}} "lab_stanzas";
  "admin_adhoc"; {{if .Register}}"register_ibr";{{end}} {{if .Invites}}"invites"; "invites_adhoc"; "invites_register";{{end}}
};
modules_disabled = { "s2s"; };
lab_stanzas_file = "{{.Stanzas}}";

log = { { levels = { min = "info" }; to = "file"; filename = "{{.Dir}}/prosody.log" } };

VirtualHost "localhost"

Component "rooms.localhost" "muc"
  name = "Rooms of the lab"
  {{if .Archive}}modules_enabled = { "muc_mam" };{{end}}
  restrict_room_creation = false
  muc_room_locking = false
  {{if .Remade}}muc_tombstones = false{{end}}
  muc_room_default_public = false
  muc_room_default_persistent = true
  max_history_messages = 50
  enforce_registered_nickname = true   -- who has a nick in the room gets it (status 210)
