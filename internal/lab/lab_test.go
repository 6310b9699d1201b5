//go:build e2e

package lab

import (
	"strings"
	"testing"
	"time"
)

func TestIRCServersCarryALine(t *testing.T) {
	for name, start := range map[string]func(l *Lab) *IRCServer{
		"inspircd": func(l *Lab) *IRCServer { return l.InspIRCd(InspIRCd{Fast: true}) },
		"ngircd":   func(l *Lab) *IRCServer { return l.NgIRCd(NgIRCd{Fast: true}) },
	} {
		t.Run(name, func(t *testing.T) {
			l := New(t)
			s := start(l)
			a := l.IRCUser(s, "ann", "#c")
			b := l.IRCUserTLS(s, "bob", nil, "#c")
			a.Say("#c", "grüß dich: bob")
			l.Await(patience, "bob hears ann", func() bool {
				h := b.Heard("#c")
				return len(h) == 1 && h[0] == (Said{"ann", "#c", "grüß dich: bob"})
			})
			s.Kill()
			l.Await(patience, "ann is gone", a.Gone)
			s.Restart()
			l.IRCUser(s, "ann", "#c")
		})
	}
}

func TestServicesKnowAnAccount(t *testing.T) {
	l := New(t)
	s := l.InspIRCd(InspIRCd{Fast: true, Services: true})
	cert := l.CA.Issue("bot")
	s.Register("bot", "sesame", cert.SHA256())
	u := l.IRCUser(s, "x")
	u.Send("PRIVMSG NickServ :IDENTIFY bot sesame")
	u.Expect(" 900 ")
	u.Send("PRIVMSG NickServ :CERT LIST")
	u.Expect("fingerprint list.")
	v := l.IRCUserTLS(s, "y", cert)
	v.Send("WHOIS y y")
	v.Expect(" 318 ")
}

func TestXMPPServersCarryAStanza(t *testing.T) {
	for name, start := range map[string]func(l *Lab) *XMPPServer{
		"prosody":  func(l *Lab) *XMPPServer { return l.Prosody(Prosody{Archive: true}) },
		"ejabberd": func(l *Lab) *XMPPServer { return l.Ejabberd(Ejabberd{Trace: true}) },
	} {
		t.Run(name, func(t *testing.T) {
			l := New(t)
			s := start(l)
			s.AddUser("ann", "bob")
			s.Befriend("ann", "bob")
			a, b := l.XMPPUser(s, "ann", ""), l.XMPPUser(s, "bob", "x")
			a.Presence("<status>here</status>")
			b.Presence("")
			b.Expect(func(st string) bool { return Attr(st, "from") == a.JID && strings.Contains(st, "here") }, "ann's presence")
			a.Chat("bob@localhost", "<body>"+Escape("grüß & <dich>\nzwei")+"</body>")
			st := b.Expect(func(st string) bool { return strings.HasPrefix(st, "<message") }, "ann's message")
			if got, _ := Child(st, "body"); got != "grüß & <dich>\nzwei" {
				t.Errorf("body = %q", got)
			}
			a.JoinRoom("r@"+Rooms, "ann")
			logged := func() bool {
				for _, st := range s.Stanzas() {
					if st.In && strings.Contains(st.XML, "&lt;dich&gt;") {
						return true
					}
				}
				return false
			}
			// ejabberd's debug log leaves lines out now and then, in about one run
			// of three: what is looked for there must be said more than once.
			found := Poll(3*time.Second, logged)
			for range 5 {
				if found {
					break
				}
				a.Chat("bob@localhost", "<body>"+Escape("grüß & <dich>\nzwei")+"</body>")
				found = Poll(3*time.Second, logged)
			}
			if !found {
				t.Error("the message does not stand in the server's log")
			}
		})
	}
}

func TestProxyBreaksLinks(t *testing.T) {
	l := New(t)
	s := l.NgIRCd(NgIRCd{Fast: true})
	p := l.Proxy(s.Addr)
	p.Record()
	through := &IRCServer{Proc: s.Proc, Addr: p.Addr, lab: l}
	u := l.IRCUser(through, "ann", "#c")
	if up, down := p.Recorded(); !strings.Contains(up, "NICK ann\r\n") || !strings.Contains(down, " 001 ann ") {
		t.Errorf("recorded %q, %q", up, down)
	}
	p.Cut()
	l.Await(patience, "ann is cut off", u.Gone)
	p.Restore()
	v := l.IRCUser(through, "bea", "#c")
	p.BlackHole()
	v.Send("PING x")
	if line, ok := v.Find(200*time.Millisecond, func(s string) bool { return strings.Contains(s, "PONG") }); ok {
		t.Errorf("the black hole let %q pass", line)
	}
}
