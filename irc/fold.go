package irc

import "drawbridge/bridge"

// casemapping is a network's rule for names that count as equal (ISUPPORT
// CASEMAPPING).
type casemapping uint8

// The casemappings in use. A network that names another is taken as ascii,
// which never makes two names one.
const (
	rfc1459       casemapping = iota // a–z, and {}|^ are the lower case of []\~
	rfc1459Strict                    // the same without ^ and ~
	ascii
)

// parseCasemapping reads the value of ISUPPORT CASEMAPPING.
func parseCasemapping(s string) casemapping {
	switch s {
	case "rfc1459":
		return rfc1459
	case "rfc1459-strict", "strict-rfc1459":
		return rfc1459Strict
	default:
		return ascii
	}
}

// fold returns name in lower case.
func (m casemapping) fold(name string) string {
	for i := range len(name) {
		if m.lower(name[i]) != name[i] {
			return m.foldFrom(name, i)
		}
	}
	return name
}

func (m casemapping) foldFrom(name string, from int) string {
	b := []byte(name)
	for i := from; i < len(b); i++ {
		b[i] = m.lower(b[i])
	}
	return string(b)
}

func (m casemapping) lower(c byte) byte {
	switch {
	case c >= 'A' && c <= 'Z':
		return c + 'a' - 'A'
	case m == ascii:
		return c
	case c >= '[' && c <= ']':
		return c + '{' - '['
	case c == '~' && m == rfc1459:
		return '^'
	}
	return c
}

// roomName returns the bridge.Room name of a configured channel: folded by rfc1459
// (RFC 1459 §2.2), the mapping that names the most names equal. It does not depend
// on the network's own, which is known only after connecting: the leg maps the
// network's channels to it.
func roomName(channel string) string { return rfc1459.fold(channel) }

// Room returns the room of a configured channel of the network called leg.
func Room(leg, channel string) bridge.Room {
	return bridge.Room{Leg: leg, Kind: bridge.Channel, Name: roomName(channel)}
}
