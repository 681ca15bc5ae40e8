// Express, as apps read a message: body-parser for JSON and forms (qs), multer for multipart.
import bodyParser from "body-parser";
import express from "express";
import multer from "multer";

const app = express();
app.set("query parser", "extended");
app.post(
  ["/chat", "/json"],
  bodyParser.json(),
  bodyParser.urlencoded({ extended: true, charsetSentinel: true, interpretNumericEntities: true }),
  multer().none(),
  (request, response) => response.json([request.body.user_message, ...[request.body.chat?.user_message].filter(Boolean)]),
);
app.use((error, request, response, next) => response.status(422).json([error.code ?? error.message]));
app.listen(Number(process.argv[2]), "127.0.0.1");
