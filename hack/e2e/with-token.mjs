// Preloaded into the conformance suite, which has no option for a token: adds
// TOKEN to each request to ORIGIN, and to no other, whether it is sent by fetch, by
// undici itself or by node:http.
import http from 'node:http';
import { Agent, setGlobalDispatcher } from 'undici';

const { TOKEN, ORIGIN } = process.env;
const authorization = `Bearer ${TOKEN}`;
const named = (names) => names.some((name) => String(name).toLowerCase() === 'authorization');

setGlobalDispatcher(new Agent().compose((dispatch) => (options, handler) => {
  let { headers } = options;
  if (String(options.origin) === ORIGIN) {
    if (Array.isArray(headers)) headers = named(headers) ? headers : [...headers, 'authorization', authorization];
    else if (!named(Object.keys(headers ?? {}))) headers = { ...headers, authorization };
  }
  return dispatch({ ...options, headers }, handler);
}));

const { request } = http;
http.request = (...args) => {
  const sent = request(...args);
  if (`http://${sent.getHeader('host')}` === ORIGIN && !sent.hasHeader('authorization')) sent.setHeader('authorization', authorization);
  return sent;
};
