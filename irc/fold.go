package irc

import "drawbridge/bridge"

// Casemapping is a network's rule for names that count as equal (ISUPPORT
// CASEMAPPING).
type Casemapping uint8

// The casemappings in use. A network that names another is taken as ascii,
// which never makes two names one.
const (
	RFC1459       Casemapping = iota // a–z, and {}|^ are the lower case of []\~
	RFC1459Strict                    // the same without ^ and ~
	ASCII
)

// ParseCasemapping reads the value of ISUPPORT CASEMAPPING.
func ParseCasemapping(s string) Casemapping {
	switch s {
	case "rfc1459":
		return RFC1459
	case "rfc1459-strict", "strict-rfc1459":
		return RFC1459Strict
	default:
		return ASCII
	}
}

// Fold returns name in lower case.
func (m Casemapping) Fold(name string) string {
	for i := range len(name) {
		if m.lower(name[i]) != name[i] {
			return m.fold(name, i)
		}
	}
	return name
}

func (m Casemapping) fold(name string, from int) string {
	b := []byte(name)
	for i := from; i < len(b); i++ {
		b[i] = m.lower(b[i])
	}
	return string(b)
}

func (m Casemapping) lower(c byte) byte {
	switch {
	case c >= 'A' && c <= 'Z':
		return c + 'a' - 'A'
	case m == ASCII:
		return c
	case c >= '[' && c <= ']':
		return c + '{' - '['
	case c == '~' && m == RFC1459:
		return '^'
	}
	return c
}

// Fold returns a channel or nick folded by rfc1459, the mapping of RFC 1459 §2.2
// that names the most names equal.
func Fold(name string) string { return RFC1459.Fold(name) }

// RoomName returns the bridge.Room name of a configured channel. It does not
// depend on the network's casemapping, which is known only after connecting:
// the leg maps the network's channels to it.
func RoomName(channel string) string { return Fold(channel) }

// Room returns the room of a configured channel of the network called leg.
func Room(leg, channel string) bridge.Room {
	return bridge.Room{Leg: leg, Kind: bridge.Channel, Name: RoomName(channel)}
}
