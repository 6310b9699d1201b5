package irc

import (
	"slices"
	"strconv"
	"strings"
)

// ISupport is what the server told of itself in 005 (ISUPPORT), with the values
// of RFC 1459 for what it left out.
type ISupport struct {
	Casemapping Casemapping
	PrefixModes string    // modes that give a prefix, highest first: "ov"
	PrefixSigns string    // their signs, in the same order: "@+"
	ChanModes   [4]string // lists; with a parameter; with one when set; without
	ChanTypes   string
	TargMax     map[string]int // per command in upper case; 0: no limit
	MaxTargets  int            // 0: unknown
	Modes       int            // mode changes with a parameter in one line
	NickLen     int            // 0: unknown
	LineLen     int            // bytes including CR LF
	StatusMsg   string         // signs that may stand before a channel as target
	UTF8Only    bool
	SafeRate    bool // the server delays floods and never kills for them
	WHOX        bool
	Bot         string // user mode that marks a bot, "" if none
	Monitor     bool
	ExtBan      string
	ClientTags  bool // client-only tags may be sent
	ChatHistory int  // most lines of one answer to CHATHISTORY; 0: no limit, or unknown
	MsgRefTypes string
	Network     string
}

// NewISupport returns what holds before any 005.
func NewISupport() ISupport {
	return ISupport{
		PrefixModes: "ov", PrefixSigns: "@+", ChanModes: [4]string{"beI", "k", "l", "imnpst"},
		ChanTypes: "#&", Modes: 3, LineLen: 512, ClientTags: true,
	}
}

// maxTargMax bounds the commands remembered of TARGMAX.
const maxTargMax = 64

// Apply takes one token in: "NAME", "NAME=value" or "-NAME".
func (i *ISupport) Apply(token string) {
	if name, ok := strings.CutPrefix(token, "-"); ok {
		i.remove(name)
		return
	}
	name, value, _ := strings.Cut(token, "=")
	value = unescapeISupport(value)
	switch name {
	case "CASEMAPPING":
		i.Casemapping = ParseCasemapping(value)
	case "PREFIX":
		i.applyPrefix(value)
	case "CHANMODES":
		i.ChanModes = [4]string{}
		for n, s := range strings.SplitN(value, ",", 5) {
			if n < 4 {
				i.ChanModes[n] = s
			}
		}
	case "CHANTYPES":
		i.ChanTypes = value
	case "TARGMAX":
		i.applyTargMax(value)
	case "MAXTARGETS":
		i.MaxTargets = number(value, 0)
	case "MODES":
		i.Modes = max(number(value, 20), 1)
	case "NICKLEN":
		i.NickLen = number(value, 0)
	case "LINELEN":
		i.LineLen = max(number(value, 512), 512)
	case "STATUSMSG":
		i.StatusMsg = value
	case "UTF8ONLY":
		i.UTF8Only = true
	case "SAFERATE", "soju.im/SAFERATE":
		i.SafeRate = true
	case "WHOX":
		i.WHOX = true
	case "BOT":
		i.Bot = value[:min(len(value), 1)]
	case "MONITOR":
		i.Monitor = true
	case "EXTBAN":
		i.ExtBan = value
	case "CLIENTTAGDENY":
		i.ClientTags = clientTagAllowed(value)
	case "NETWORK":
		i.Network = value
	case "CHATHISTORY", "draft/CHATHISTORY":
		i.ChatHistory = number(value, 0)
	case "MSGREFTYPES":
		i.MsgRefTypes = value
	}
}

// refsByID reports whether CHATHISTORY may name a line by its msgid.
func (i *ISupport) refsByID() bool {
	return i.MsgRefTypes == "" || slices.Contains(strings.Split(i.MsgRefTypes, ","), "msgid")
}

func (i *ISupport) remove(name string) {
	d := NewISupport()
	switch name {
	case "CASEMAPPING":
		i.Casemapping = d.Casemapping
	case "PREFIX":
		i.PrefixModes, i.PrefixSigns = d.PrefixModes, d.PrefixSigns
	case "CHANMODES":
		i.ChanModes = d.ChanModes
	case "CHANTYPES":
		i.ChanTypes = d.ChanTypes
	case "TARGMAX":
		i.TargMax = nil
	case "MAXTARGETS":
		i.MaxTargets = 0
	case "MODES":
		i.Modes = d.Modes
	case "NICKLEN":
		i.NickLen = 0
	case "STATUSMSG":
		i.StatusMsg = ""
	case "UTF8ONLY":
		i.UTF8Only = false
	case "WHOX":
		i.WHOX = false
	case "BOT":
		i.Bot = ""
	case "MONITOR":
		i.Monitor = false
	case "EXTBAN":
		i.ExtBan = ""
	case "CLIENTTAGDENY":
		i.ClientTags = true
	case "CHATHISTORY", "draft/CHATHISTORY":
		i.ChatHistory = 0
	case "MSGREFTYPES":
		i.MsgRefTypes = ""
	}
}

// applyPrefix reads "(ov)@+"; a value that does not add up is left out.
func (i *ISupport) applyPrefix(value string) {
	modes, signs, ok := strings.Cut(strings.TrimPrefix(value, "("), ")")
	if ok && len(modes) == len(signs) || value == "" {
		i.PrefixModes, i.PrefixSigns = modes, signs
	}
}

func (i *ISupport) applyTargMax(value string) {
	i.TargMax = make(map[string]int)
	for item := range strings.SplitSeq(value, ",") {
		if name, n, ok := strings.Cut(item, ":"); ok && len(i.TargMax) < maxTargMax {
			i.TargMax[strings.ToUpper(name)] = number(n, 0)
		}
	}
}

// Targets returns how many targets one line of command may name; 0 is no limit.
func (i *ISupport) Targets(command string) int {
	if n, ok := i.TargMax[command]; ok {
		return n
	}
	return i.MaxTargets
}

// IsChannel reports whether name can be a channel here.
func (i *ISupport) IsChannel(name string) bool {
	return name != "" && strings.IndexByte(i.ChanTypes, name[0]) >= 0
}

// signs cuts the status signs off the front of s.
func (i *ISupport) signs(s string) (signs, rest string) {
	n := 0
	for n < len(s) && strings.IndexByte(i.PrefixSigns, s[n]) >= 0 {
		n++
	}
	return s[:n], s[n:]
}

// isOp reports whether signs hold operator rank or above.
func (i *ISupport) isOp(signs string) bool {
	rank := strings.IndexByte(i.PrefixModes, 'o')
	for n := range len(signs) {
		if p := strings.IndexByte(i.PrefixSigns, signs[n]); p >= 0 && p <= rank {
			return true
		}
	}
	return false
}

// modeKind tells how a channel mode takes parameters.
type modeKind uint8

const (
	modeFlag   modeKind = iota // never
	modeSet                    // only when set
	modeParam                  // always
	modeList                   // always; or none, to ask for the list
	modePrefix                 // a nick, always
)

func (i *ISupport) modeKind(c byte) modeKind {
	switch {
	case strings.IndexByte(i.PrefixModes, c) >= 0:
		return modePrefix
	case strings.IndexByte(i.ChanModes[0], c) >= 0:
		return modeList
	case strings.IndexByte(i.ChanModes[1], c) >= 0:
		return modeParam
	case strings.IndexByte(i.ChanModes[2], c) >= 0:
		return modeSet
	}
	return modeFlag
}

// clientTagAllowed reads CLIENTTAGDENY: "*,-a,-b" refuses all but a and b.
func clientTagAllowed(value string) bool {
	allowed := true
	for item := range strings.SplitSeq(value, ",") {
		switch item {
		case "*", markTag[1:]:
			allowed = false
		case "-" + markTag[1:]:
			return true
		}
	}
	return allowed
}

// unescapeISupport resolves \xHH.
func unescapeISupport(s string) string {
	if !strings.Contains(s, `\x`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && s[i+1] == 'x' {
			if n, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// number reads a count; what is none gives otherwise.
func number(s string, otherwise int) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 1<<20 {
		return otherwise
	}
	return n
}
