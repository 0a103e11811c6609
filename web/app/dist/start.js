/*! Tallyroot, Apache-2.0. */
var t=globalThis.trustedTypes?.createPolicy("tallyroot",{createScriptURL:r=>r}),e=new URL("worker.js",import.meta.url).href,o=r=>new Worker(t?.createScriptURL(e)??e,{type:"module",name:r}),l=o("follower");export{l as follower,o as start};
