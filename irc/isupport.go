package irc

import (
	"iter"
	"slices"
	"strconv"
	"strings"

	"drawbridge/policy"
)

// isupport is what the server told of itself in 005 (ISUPPORT), with the values
// of RFC 1459 for what it left out.
type isupport struct {
	casemapping casemapping
	prefixModes string    // modes that give a prefix, highest first: "ov"
	prefixSigns string    // their signs, in the same order: "@+"
	chanModes   [4]string // lists; with a parameter; with one when set; without
	chanTypes   string
	targMax     map[string]int // per command in upper case; 0: no limit
	maxTargets  int            // 0: unknown
	modes       int            // mode changes with a parameter in one line
	nickLen     int            // 0: unknown
	lineLen     int            // bytes including CR LF
	statusMsg   string         // signs that may stand before a channel as target
	utf8Only    bool
	safeRate    bool // the server delays floods and never kills for them
	whox        bool
	bot         string // user mode that marks a bot, "" if none
	monitor     bool
	extBan      *string         // EXTBAN: its prefix and letters; nil: there are none
	accountBans []string        // ACCOUNTEXTBAN: the names of the one for accounts
	maxList     int             // MAXLIST: entries of the shortest list; 0: unknown
	software    policy.Software // by the version that RPL_MYINFO tells
	clientTags  bool            // client-only tags may be sent
	chatHistory int             // most lines of one answer to CHATHISTORY; 0: no limit, or unknown
	msgRefTypes string
	network     string
}

// newISupport returns what holds before any 005.
func newISupport() isupport {
	return isupport{
		prefixModes: "ov", prefixSigns: "@+", chanModes: [4]string{"beI", "k", "l", "imnpst"},
		chanTypes: "#&", modes: 3, lineLen: 512, clientTags: true,
	}
}

// maxTargMax bounds the commands remembered of TARGMAX.
const maxTargMax = 64

// apply takes one token in: "NAME", "NAME=value" or "-NAME".
func (i *isupport) apply(token string) {
	if name, ok := strings.CutPrefix(token, "-"); ok {
		i.remove(name)
		return
	}
	name, value, _ := strings.Cut(token, "=")
	value = unescapeISupport(value)
	switch name {
	case "CASEMAPPING":
		i.casemapping = parseCasemapping(value)
	case "PREFIX":
		i.applyPrefix(value)
	case "CHANMODES":
		i.chanModes = [4]string{}
		for n, s := range strings.SplitN(value, ",", 5) {
			if n < 4 {
				i.chanModes[n] = s
			}
		}
	case "CHANTYPES":
		i.chanTypes = value
	case "TARGMAX":
		i.applyTargMax(value)
	case "MAXTARGETS":
		i.maxTargets = number(value, 0)
	case "MODES":
		i.modes = max(number(value, 20), 1)
	case "NICKLEN":
		i.nickLen = number(value, 0)
	case "LINELEN":
		i.lineLen = max(number(value, 512), 512)
	case "STATUSMSG":
		i.statusMsg = value
	case "UTF8ONLY":
		i.utf8Only = true
	case "SAFERATE", "soju.im/SAFERATE":
		i.safeRate = true
	case "WHOX":
		i.whox = true
	case "BOT":
		i.bot = value[:min(len(value), 1)]
	case "MONITOR":
		i.monitor = true
	case "EXTBAN":
		i.extBan = &value
	case "ACCOUNTEXTBAN":
		i.accountBans = strings.FieldsFunc(value, func(r rune) bool { return r == ',' })
	case "MAXLIST":
		i.applyMaxList(value)
	case "CLIENTTAGDENY":
		i.clientTags = clientTagAllowed(value)
	case "NETWORK":
		i.network = value
	case "CHATHISTORY", "draft/CHATHISTORY":
		i.chatHistory = number(value, 0)
	case "MSGREFTYPES":
		i.msgRefTypes = value
	}
}

// refsByID reports whether CHATHISTORY may name a line by its msgid.
func (i *isupport) refsByID() bool {
	return i.msgRefTypes == "" || slices.Contains(strings.Split(i.msgRefTypes, ","), "msgid")
}

func (i *isupport) remove(name string) {
	d := newISupport()
	switch name {
	case "CASEMAPPING":
		i.casemapping = d.casemapping
	case "PREFIX":
		i.prefixModes, i.prefixSigns = d.prefixModes, d.prefixSigns
	case "CHANMODES":
		i.chanModes = d.chanModes
	case "CHANTYPES":
		i.chanTypes = d.chanTypes
	case "TARGMAX":
		i.targMax = nil
	case "MAXTARGETS":
		i.maxTargets = 0
	case "MODES":
		i.modes = d.modes
	case "NICKLEN":
		i.nickLen = 0
	case "STATUSMSG":
		i.statusMsg = ""
	case "UTF8ONLY":
		i.utf8Only = false
	case "WHOX":
		i.whox = false
	case "BOT":
		i.bot = ""
	case "MONITOR":
		i.monitor = false
	case "EXTBAN":
		i.extBan = nil
	case "ACCOUNTEXTBAN":
		i.accountBans = nil
	case "MAXLIST":
		i.maxList = 0
	case "CLIENTTAGDENY":
		i.clientTags = true
	case "CHATHISTORY", "draft/CHATHISTORY":
		i.chatHistory = 0
	case "MSGREFTYPES":
		i.msgRefTypes = ""
	}
}

// applyPrefix reads "(ov)@+"; a value that does not add up is left out.
func (i *isupport) applyPrefix(value string) {
	modes, signs, ok := strings.Cut(strings.TrimPrefix(value, "("), ")")
	if ok && len(modes) == len(signs) || value == "" {
		i.prefixModes, i.prefixSigns = modes, signs
	}
}

func (i *isupport) applyTargMax(value string) {
	i.targMax = make(map[string]int)
	for item := range strings.SplitSeq(value, ",") {
		if name, n, ok := strings.Cut(item, ":"); ok && len(i.targMax) < maxTargMax {
			i.targMax[strings.ToUpper(name)] = number(n, 0)
		}
	}
}

// applyMaxList reads "beI:50" or "b:100,e:50".
func (i *isupport) applyMaxList(value string) {
	i.maxList = 0
	for item := range strings.SplitSeq(value, ",") {
		_, count, _ := strings.Cut(item, ":")
		if n := number(count, 0); n > 0 && (i.maxList == 0 || n < i.maxList) {
			i.maxList = n
		}
	}
}

// targets returns how many targets one line of command may name; 0 is no limit.
func (i *isupport) targets(command string) int {
	if n, ok := i.targMax[command]; ok {
		return n
	}
	return i.maxTargets
}

// isChannel reports whether name can be a channel here.
func (i *isupport) isChannel(name string) bool {
	return name != "" && strings.IndexByte(i.chanTypes, name[0]) >= 0
}

// signs cuts the status signs off the front of s.
func (i *isupport) signs(s string) (signs, rest string) {
	n := 0
	for n < len(s) && strings.IndexByte(i.prefixSigns, s[n]) >= 0 {
		n++
	}
	return s[:n], s[n:]
}

// isOp reports whether signs hold operator rank or above.
func (i *isupport) isOp(signs string) bool {
	rank := strings.IndexByte(i.prefixModes, 'o')
	for n := range len(signs) {
		if p := strings.IndexByte(i.prefixSigns, signs[n]); p >= 0 && p <= rank {
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

func (i *isupport) modeKind(c byte) modeKind {
	switch {
	case strings.IndexByte(i.prefixModes, c) >= 0:
		return modePrefix
	case strings.IndexByte(i.chanModes[0], c) >= 0:
		return modeList
	case strings.IndexByte(i.chanModes[1], c) >= 0:
		return modeParam
	case strings.IndexByte(i.chanModes[2], c) >= 0:
		return modeSet
	}
	return modeFlag
}

// change is one change of a channel's modes.
type change struct {
	on   bool
	mode byte
	kind modeKind
	arg  string
}

// String returns the change as a line would have it.
func (c change) String() string {
	out := "-"
	if c.on {
		out = "+"
	}
	out += string(rune(c.mode))
	if c.arg != "" {
		out += " " + c.arg
	}
	return out
}

// changes cuts the parameters of a MODE line into changes.
func (i *isupport) changes(modes string, params []string) iter.Seq[change] {
	return func(yield func(change) bool) {
		on := true
		for n := range len(modes) {
			ch := modes[n]
			if ch == '+' || ch == '-' {
				on = ch == '+'
				continue
			}
			c := change{on: on, mode: ch, kind: i.modeKind(ch)}
			if c.takesArg() && len(params) > 0 {
				c.arg, params = params[0], params[1:]
			}
			if !yield(c) {
				return
			}
		}
	}
}

func (c change) takesArg() bool {
	return c.kind == modePrefix || c.kind == modeList || c.kind == modeParam || c.kind == modeSet && c.on
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
