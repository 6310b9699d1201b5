// Package bridge is the core: it takes messages in from the legs, decides where
// they go, and keeps one outbox per destination room. It knows no protocol, no
// encryption scheme, no configuration file and no store.
package bridge
