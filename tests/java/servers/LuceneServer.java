package servers;

import java.nio.file.Path;
import org.apache.lucene.document.Document;
import org.apache.lucene.document.Field;
import org.apache.lucene.document.StringField;
import org.apache.lucene.index.DirectoryReader;
import org.apache.lucene.index.IndexWriter;
import org.apache.lucene.index.IndexWriterConfig;
import org.apache.lucene.store.FSDirectory;

/** The numbers of DataServer as documents of a Lucene index: PORT KIND WHERE. */
public final class LuceneServer {
    private LuceneServer() {}

    public static void main(String[] args) throws Exception {
        DataServer.serve(Integer.parseInt(args[0]), () -> {
            FSDirectory directory = FSDirectory.open(Path.of(args[2]));
            IndexWriter writer = new IndexWriter(directory, new IndexWriterConfig());
            writer.commit();
            return new DataServer.Store() {
                private long last = count();

                @Override
                public long next() throws Exception {
                    Document document = new Document();
                    document.add(new StringField("n", String.valueOf(++last), Field.Store.YES));
                    writer.addDocument(document);
                    writer.commit();
                    return last;
                }

                @Override
                public long count() throws Exception {
                    try (DirectoryReader reader = DirectoryReader.open(directory)) {
                        return reader.numDocs();
                    }
                }

                @Override
                public void close() throws Exception {
                    writer.close();
                }
            };
        });
    }
}
