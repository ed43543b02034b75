// Package oauth is the vocabulary of the protocols: error codes, redirect URI
// matching, scopes, PKCE, resource identifiers, challenges and request
// parameters. It is pure: no I/O, no clock, no other package of this module.
package oauth
