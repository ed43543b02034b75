// Package conformance checks the running service from outside, row by row of
// requirements.yaml. Its invariant: every row has either a check or a reason why
// there is none, and every check has been seen to fail: each runs a second time
// against a service that was broken on purpose (its twin) and must notice.
//
// The service is the real one behind a real listener; only the identity
// provider, the MCP server and the gateway around it are fakes. What a check
// needs but cannot get is a failure of the suite, never a pass.
//
// # How to read a check
//
//	{IDs: "AS-TOK-01", Run: noStore, Twins: twins(dropHeader("/token", "Cache-Control"))}
//
// Run gets a T. It takes a service with t.World(options...), whose standard
// configuration is standardConfig: configured edits or appends YAML, own gives
// the check a service that no other check uses, and withMCP puts another MCP
// server behind it. The world sends requests (get, form, postJSON, do, raw) and
// returns an answer, which knows JSON, Text, Refused, LocalError and Location.
// The shortcuts register, code, exchange and newToken walk a whole sign-in.
//
// Want and Errorf report a fault of the service. Setupf says that the check
// could not be made, which fails the suite.
//
// A Twin breaks the service for the second run. Those at the wire take a path,
// "*" at its end for a prefix, and stand between the client and the service:
//
//	header, query, formData, jsonData   change the request before the service reads it
//	replies                             changes the answer; dropHeader, setHeader, replaceHeader,
//	                                    replaceBody, status, answers, location and errorsBecomePasses build on it
//	members, setMember, dropMember      change the JSON object of an answer
//	configTwin                          edits the configuration
//
// A Twin can also stand before the MCP server, the identity provider or the
// sites of the internet (the fields of Twin), or set Flaw, which the check reads
// to break a part that no request reaches.
package conformance
