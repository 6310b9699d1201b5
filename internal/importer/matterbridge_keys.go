package importer

// keyNote says of a key of matterbridge why it is not carried. An empty why: the
// importer reads it.
type keyNote struct{ why, fix string }

// What several keys are answered with.
var (
	keyRead   = keyNote{}
	noNeed    = keyNote{"not needed: lines are paced by what the server takes, cut between words, and wait in the store without loss", ""}
	noRewrite = keyNote{"text and names are relayed as they are", ""}
	noFiles   = keyNote{"files are not taken over and served; a link is relayed as a link", ""}
	noIgnore  = keyNote{"nobody is left out by nick or by words, which anybody can change", "see rules: do: relay-in in config.example.yaml"}
	noLooks   = keyNote{"names are shown one way, by show: of a bridge", ""}
	otherOnly = keyNote{"it is for other protocols", ""}
)

// commonKeys may stand with every account and in [general].
var commonKeys = map[string]keyNote{
	"remotenickformat": keyRead, "showjoinpart": keyRead, "nosendjoinpart": keyRead, "label": keyRead,
	"ignorenicks": noIgnore, "ignoremessages": noIgnore,
	"replacemessages": noRewrite, "replacenicks": noRewrite, "extractnicks": noRewrite, "stripnick": noRewrite, "stripmarkdown": noRewrite,
	"tengomodifymessage": {"scripts are not run", ""},
	"joindelay":          noNeed, "ignorefailureonstart": noNeed, "rejoindelay": noNeed,
	"mediadownloadsize": noFiles, "mediadownloadpath": noFiles, "mediadownloadblacklist": noFiles,
	"mediaserverdownload": noFiles, "mediaserverupload": noFiles, "mediaconverttgs": noFiles, "mediaconvertwebptopng": noFiles,
	"verbosejoinpart": noLooks, "showtopicchange": {"topics are not relayed", "lock: {topic: true} of a guarded room keeps one"},
	"synctopic":      {"topics are not relayed", "lock: {topic: true} of a guarded room keeps one"},
	"showusertyping": otherOnly, "iconurl": otherOnly, "name": otherOnly, "protocol": otherOnly,
	"editsuffix": otherOnly, "editdisable": otherOnly, "usefirstname": otherOnly, "preservethreading": otherOnly, "showembeds": otherOnly,
	"debug": {"", ""}, "logfile": {"the log goes to standard error, and systemd keeps it", ""},
}

// ircKeys may stand in [irc.NAME].
var ircKeys = map[string]keyNote{
	"server": keyRead, "nick": keyRead, "password": keyRead, "usetls": keyRead, "usesasl": keyRead, "skiptlsverify": keyRead,
	"nickservnick": keyRead, "nickservpassword": keyRead, "realname": keyRead, "username": keyRead, "charset": keyRead,
	"tlsclientcertificate": keyRead, "nickservusername": {"the login of QuakeNet is not known here", ""},
	"colornicks": noLooks, "userelaymsg": {"RELAYMSG is not used: lines come from the bot's nick, with the name and the network in front", ""},
	"userelayfallback": noLooks, "relayfallbacknick": noLooks, "doublecolonprefix": noLooks,
	"messagedelay": noNeed, "messagequeue": noNeed, "messagelength": noNeed, "messagesplit": noNeed, "messageclipped": noNeed, "pingdelay": noNeed, "debuglevel": noNeed,
	"runcommands": {"raw commands are not sent; its text is not shown here, it may hold a password", "log in by sasl:; see channel keys and rooms: for the rest"},
	"bind":        {"the address to connect from is the system's choice", ""},
}

// xmppKeys may stand in [xmpp.NAME].
var xmppKeys = map[string]keyNote{
	"server": keyRead, "jid": keyRead, "password": keyRead, "muc": keyRead, "nick": keyRead, "skiptlsverify": keyRead,
	"notls": keyRead, "usedirecttls": keyRead, "nostarttls": keyRead, "mechanism": keyRead,
	"noplain":    {"not needed: PLAIN is used only where allow_plain: true is set", ""},
	"anonymous":  {"the bot needs an account of its own: nobody can be sure of a guest", "drawbridge register makes one, where the server lets everybody"},
	"webhookurl": {"no web hooks", ""}, "useinsecureurl": noFiles, "httpuploadcomponent": noFiles,
}

// gatewayKeys may stand in [[gateway]] and in [[samechannelgateway]].
var gatewayKeys = map[string]keyNote{
	"name": keyRead, "enable": keyRead, "in": keyRead, "out": keyRead, "inout": keyRead, "channels": keyRead, "accounts": keyRead,
}

// protocols are those of matterbridge that Drawbridge does not speak.
var protocols = map[string]bool{
	"api": true, "mattermost": true, "matrix": true, "slack": true, "slack-legacy": true, "slacklegacy": true, "steam": true,
	"discord": true, "telegram": true, "rocketchat": true, "sshchat": true, "whatsapp": true, "zulip": true, "keybase": true, "mumble": true,
	"msteams": true, "gitter": true, "harmony": true, "vk": true, "nctalk": true, "mastodon": true, "fluxer": true, "stoat": true,
}
