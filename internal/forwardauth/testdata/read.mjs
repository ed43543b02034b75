// Reads bodies as a server on Node would: one in Base64 on each line. It answers
// each with a line: the method and operand of each message, or null where the
// body is no JSON. Members are copied as some servers do, by assignment.
import { createInterface } from 'node:readline'

const operand = { 'tools/call': 'name', 'prompts/get': 'name', 'resources/read': 'uri' }

const read = (message) => {
  const { method, params } = Object.assign({}, message)
  const name = operand[method]
  return [method ?? '', name ? (Object.assign({}, params)[name] ?? '') : '']
}

for await (const line of createInterface({ input: process.stdin })) {
  let answer = null
  try {
    const body = JSON.parse(new TextDecoder().decode(Buffer.from(line, 'base64')))
    answer = (Array.isArray(body) ? body : [body]).map(read)
  } catch {}
  console.log(JSON.stringify(answer))
}
