import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/** Sends one record for each line that it reads, acknowledged by the broker; "verify" lists all records. */
public class KafkaClient {
    public static void main(String[] args) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", "127.0.0.1:" + args[0]);
        properties.put("acks", "all");
        properties.put("enable.idempotence", "true");
        properties.put("max.block.ms", "60000");
        String text = "org.apache.kafka.common.serialization.String";
        properties.put("key.serializer", text + "Serializer");
        properties.put("value.serializer", text + "Serializer");
        properties.put("key.deserializer", text + "Deserializer");
        properties.put("value.deserializer", text + "Deserializer");
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        KafkaProducer<String, String> producer = new KafkaProducer<>(properties);
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            try {
                if (line.equals("verify")) {
                    System.out.println("ok " + String.join(" ", all(properties)));
                } else {
                    producer.send(new ProducerRecord<>("matrix", line)).get(60, TimeUnit.SECONDS);
                    System.out.println("ok");
                }
            } catch (Exception failure) {
                System.out.println("failed " + failure.toString().replace('\n', ' '));
            }
        }
    }

    private static List<String> all(Properties properties) {
        List<String> found = new java.util.ArrayList<>();
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(properties)) {
            TopicPartition partition = new TopicPartition("matrix", 0);
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            long end = consumer.endOffsets(List.of(partition)).get(partition);
            while (consumer.position(partition) < end) {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofSeconds(5));
                for (ConsumerRecord<String, String> record : records) {
                    found.add(record.value());
                }
            }
        }
        return found;
    }
}
