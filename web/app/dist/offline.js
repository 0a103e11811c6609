/*! Tallyroot, Apache-2.0. The page contains Preact:
The MIT License (MIT)

Copyright (c) 2015-present Jason Miller

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
*/
var s=self,r="tallyroot-receipt",d=["receipt","receipt.js","receipt-worker.js","page.css","voting.css","vote-ar.js","vote-de.js","vote-es.js","vote-fr.js","vote-pt.js"],[l,u]=[4e3,3e4],a=0,w=new URL(".",s.location.href).href,c=new Set(d.map(e=>w+e));s.addEventListener("install",e=>{e.waitUntil(caches.open(r).then(n=>n.addAll([...c])).then(()=>s.skipWaiting()))});s.addEventListener("activate",e=>e.waitUntil(s.clients.claim()));s.addEventListener("fetch",e=>{let n=e.request.url.replace(/[?#].*$/,"");e.request.method==="GET"&&c.has(n)&&e.respondWith(f(e.request,n))});async function f(e,n){let o=await caches.open(r),i=await o.match(n);if(i!==void 0&&Date.now()<a)return i;try{let t=await fetch(e,i===void 0?{}:{signal:AbortSignal.timeout(l)});return t.ok&&await o.put(n,t.clone()),t.ok||i===void 0?t:i}catch(t){if(i===void 0)throw t;return t instanceof DOMException&&t.name==="TimeoutError"&&(a=Date.now()+u),i}}
