module drawbridge

go 1.26.0

require (
	github.com/ProtonMail/go-crypto v1.5.2
	golang.org/x/crypto v0.48.0
	mellium.im/xmpp v0.23.0
)

require (
	github.com/cloudflare/circl v1.6.3 // indirect
	golang.org/x/net v0.50.0 // indirect
	golang.org/x/sys v0.41.0 // indirect
	golang.org/x/text v0.34.0 // indirect
	mellium.im/reader v0.1.0 // indirect
	mellium.im/xmlstream v0.15.4 // indirect
)
