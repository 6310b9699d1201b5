package irc

import "testing"

// Who has the nick NickServ is services by what the server says, or the configuration;
// never by a host of their own choice.
func TestWhoIsServices(t *testing.T) {
	for _, tt := range []struct {
		name, conf, home string
		who              whoServices
		want             bool
	}{
		{"Atheme on InspIRCd", "", "", whoServices{"services.test", "services.test", true, false}, true},
		{"in other letters", "", "", whoServices{"Services.test", "services.TEST", true, false}, true},
		{"called a service", "", "", whoServices{"anything", "hub.test", true, true}, true},
		{"on our own server, and called a service", "", "", whoServices{"anything", "irc.test", false, true}, true},
		{"from where they were", "", "services.test", whoServices{"services.test", "", false, false}, true},
		{"somebody", "", "", whoServices{"10.0.0.66", "irc.test", false, false}, false},
		{"somebody with the name of our server", "", "", whoServices{"irc.test", "irc.test", false, false}, false},
		{"somebody with a fitting host", "", "", whoServices{"services.test", "irc.test", false, false}, false},
		{"somebody with a fitting host, elsewhere", "", "", whoServices{"services.test", "leaf.test", true, false}, false},
		{"a server that does not say where they are", "", "", whoServices{"services.test", "", false, false}, false},
		{"somebody without a host", "", "", whoServices{"", "", true, false}, false},
		{"the configured host", "services.corp.example", "", whoServices{"services.corp.example", "irc.test", false, false}, true},
		{"the configured server", "hub.corp.example", "", whoServices{"nickserv", "hub.corp.example", true, false}, true},
		{"our own server, configured", "irc.test", "", whoServices{"10.0.0.66", "irc.test", false, false}, false},
		{"others than configured", "services.corp.example", "services.test", whoServices{"services.test", "services.test", true, true}, false},
	} {
		s := &session{}
		s.cfg.Services, s.services.home = tt.conf, tt.home
		if got := s.areServices(&tt.who); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
