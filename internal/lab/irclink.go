package lab

import (
	"fmt"
	"strings"
)

// IRCLink is the link between two InspIRCd, first down.
type IRCLink struct {
	lab  *Lab
	oper *IRCUser // on the first
	peer string   // name of the second
}

// LinkedInspIRCd starts two InspIRCd of one network, a.test and b.test, which are not
// joined yet. Services, where asked for, are on the first.
func (l *Lab) LinkedInspIRCd(o InspIRCd) (a, b *IRCServer, link *IRCLink) {
	l.Helper()
	ca, cb := l.inspConf(o), l.inspConf(o)
	ca.Name, ca.ID, ca.LinkPort = "a.test", "00A", l.Port()
	cb.Name, cb.ID, cb.LinkPort = "b.test", "00B", l.Port()
	if o.Services {
		ca.ID = "00C" // 00A is atheme's
	}
	ca.Peer, ca.PeerPort = cb.Name, cb.LinkPort
	cb.Peer, cb.PeerPort = ca.Name, ca.LinkPort
	a = l.inspircd(o, ca)
	o.Services = false
	b = l.inspircd(o, cb)
	oper := l.IRCUser(a, "linker")
	oper.Send("OPER oper operpw")
	oper.Expect(" 381 ")
	return a, b, &IRCLink{lab: l, oper: oper, peer: cb.Name}
}

// Join links the two, and waits until each knows the other's users.
func (k *IRCLink) Join() {
	k.lab.Helper()
	k.oper.Send("CONNECT " + k.peer)
	k.await(true)
}

// Split parts them.
func (k *IRCLink) Split() {
	k.lab.Helper()
	k.oper.Send("SQUIT " + k.peer + " :split")
	k.await(false)
}

// await waits until LINKS of the first lists the second, or does not.
func (k *IRCLink) await(there bool) {
	k.lab.Helper()
	n := 0
	k.lab.Await(patience, fmt.Sprintf("the link to %s is up: %v", k.peer, there), func() bool {
		n++
		mark := fmt.Sprintf("links%d", n)
		from := len(k.oper.Lines())
		k.oper.Send("LINKS")
		k.oper.Send("PING " + mark)
		k.oper.Expect("PONG a.test :" + mark)
		return strings.Contains(strings.Join(k.oper.Lines()[from:], "\n"), " 364 linker "+k.peer+" ") == there
	})
}
